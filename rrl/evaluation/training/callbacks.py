"""The evaluations while training goes on: in unchanged worlds, and of a game's protagonist under attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gymnasium.vector import VectorEnv
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from rrl.checkpoints import actor_of, world_recipe
from rrl.checks import require_at_least
from rrl.envs import make_vec_env
from rrl.evaluation.attacks.attackers import AttackedWorlds, AttackerName, HasGate, HasOpponent, attackers_of
from rrl.evaluation.episodes import run_episodes
from rrl.evaluation.intervals import tail_mean
from rrl.random_streams import Purpose, derived_seed
from rrl.tracking.sending import send_metrics

MOST_WORLDS = 32
"""More worlds side by side would save little time."""


class NominalEvaluation(Callback):
    """Runs whole episodes with the mean action in unchanged worlds: no pushes, physics as the task has them.

    The worlds are those of the datamodule's ``env_id`` and ``env_kwargs``, with the task's own time limit where there
    is one, seeded apart from training, and the same at every evaluation, so that two evaluations of a run differ by the
    policy alone. In a multi-process run every process runs the same episodes, since all hold the same policy.

    Logs ``epoch``, ``eval/return_mean``, ``eval/return_cvar`` (worst tenth), ``eval/episode_length`` (environment
    steps), ``eval/failure_rate`` and, where the task moves forward, ``eval/forward_distance`` (metres).

    Args:
        every_n_epochs: Epochs between two evaluations, at least 1; the last epoch is always evaluated.
        num_episodes: Episodes of one evaluation, at least 1.
        env_kwargs: Keyword arguments of the environment in place of the datamodule's.
    """

    METRICS: ClassVar = tuple(
        f"eval/{name}" for name in ("return_mean", "return_cvar", "episode_length", "failure_rate", "forward_distance")
    )

    def __init__(
        self, every_n_epochs: int = 5, num_episodes: int = 10, env_kwargs: dict[str, Any] | None = None
    ) -> None:
        require_at_least(1, **{"evaluation.every_n_epochs": every_n_epochs, "evaluation.num_episodes": num_episodes})
        self.every_n_epochs, self.num_episodes, self.env_kwargs = every_n_epochs, num_episodes, env_kwargs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate if it is time."""
        if not is_time(trainer, self.every_n_epochs):
            return
        envs = self._worlds(trainer.datamodule, self.num_episodes)  # type: ignore[attr-defined]  # set by every such fit
        try:
            episodes = run_episodes(envs, actor_of(pl_module), self.num_episodes)
        finally:
            envs.close()
        metrics = {
            "epoch": float(trainer.current_epoch),
            "eval/return_mean": float(episodes.returns.mean()),
            "eval/return_cvar": tail_mean(episodes.returns),
            "eval/episode_length": float(episodes.lengths.mean()),
            "eval/failure_rate": float(episodes.failed.mean()),
        }
        if episodes.forward_distances is not None:
            metrics["eval/forward_distance"] = float(episodes.forward_distances.mean())
        send_metrics(trainer, metrics)

    def check_worlds(self, data: LightningDataModule) -> None:
        """Refuse ``env_kwargs`` that the environment cannot take, by whatever it raises; build nothing without any."""
        if self.env_kwargs is not None:
            self._worlds(data, 1).close()

    def _worlds(self, data: LightningDataModule, num_episodes: int) -> VectorEnv[Any, Any, Any]:
        recipe = world_recipe(data)
        if self.env_kwargs is not None:
            recipe["env_kwargs"] = self.env_kwargs
        return nominal_worlds(recipe, num_episodes, Purpose.NOMINAL_EVALUATION)


def is_time(trainer: Trainer, every_n_epochs: int) -> bool:
    """Tell whether a callback looks at the end of this epoch: every so many epochs, and in any case the last."""
    epochs = trainer.current_epoch + 1
    return epochs % every_n_epochs == 0 or epochs == trainer.max_epochs


def nominal_worlds(recipe: dict[str, Any], num_episodes: int, purpose: Purpose) -> VectorEnv[Any, Any, Any]:
    """Make the unchanged worlds of a run, by the recipe of ``world_recipe``; each purpose has worlds of its own."""
    num_envs = min(num_episodes, MOST_WORLDS)
    seed = derived_seed(purpose, recipe["seed"])
    settings = {name: recipe[name] for name in ("env_kwargs", "wrappers", "max_episode_steps")}
    return make_vec_env(recipe["env_id"], num_envs, seed=seed, **settings)


class AttackEvaluation(Callback):
    """Runs whole episodes of the protagonist's mean action against several attackers, while a game is trained.

    The worlds are those of training without pushes or random physics, with the task's own time limit, the same for all
    attackers and at every test. Algorithms that are not a game are left alone.

    Logs the mean return, in units of reward: ``attack/zero`` (no force), ``attack/random`` (uniform in each step),
    ``attack/step`` and ``attack/random_step`` (pushes of 100 steps at random times), ``attack/learned`` (the run's own
    adversary, never gated), and ``attack/gated`` (the same behind its gate, where there is one; it pushes less, so this
    says nothing of robustness by itself).

    Args:
        every_n_epochs: Epochs between two tests; the last epoch is always tested. 0 never tests.
        num_episodes: Episodes for each attacker; ``5`` in the published code.
        attackers: Which tests to run.
    """

    def __init__(
        self,
        every_n_epochs: int = 5,
        num_episodes: int = 5,
        attackers: Sequence[AttackerName] = ("zero", "random", "step", "random_step", "learned", "gated"),
    ) -> None:
        require_at_least(0, **{"attacks.every_n_epochs": every_n_epochs})
        require_at_least(1, **{"attacks.num_episodes": num_episodes})
        self.every_n_epochs, self.num_episodes = every_n_epochs, num_episodes
        self.attackers = tuple(attackers)

    @property
    def tests_learned_adversary(self) -> bool:
        """See :class:`rrl.types.HasAttackTests`."""
        return self.every_n_epochs > 0 and "learned" in self.attackers

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test if it is time."""
        if self.every_n_epochs == 0 or not is_time(trainer, self.every_n_epochs):
            return
        if not isinstance(pl_module, HasOpponent):
            return
        returns = self.mean_returns(trainer.datamodule, pl_module)  # type: ignore[attr-defined]  # set by every such fit
        send_metrics(trainer, {f"attack/{name}": value for name, value in returns.items()})
        if "learned" in returns and isinstance(pl_module, HasGate):
            pl_module.on_attack_tested(returns["learned"])

    def mean_returns(self, data: Any, game: Any) -> dict[AttackerName, float]:
        """Test the protagonist of a game in worlds of its data; return the mean return by attacker."""
        seed, found = derived_seed(Purpose.ATTACK_EVALUATION, data.seed), {}
        for name, make in attackers_of(game).items():
            if name not in self.attackers:
                continue
            envs = data.make_envs(min(self.num_episodes, MOST_WORLDS), seed=seed, nominal=True)
            try:
                episodes = run_episodes(AttackedWorlds(envs, make, seed), actor_of(game), self.num_episodes)
            finally:
                envs.close()
            found[name] = float(episodes.returns.mean())
        return found
