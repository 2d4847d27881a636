"""The protagonist under attack while a game is trained: the tests that end an iteration of RARL's published code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from rrl.checkpoints import actor_of
from rrl.checks import require_at_least
from rrl.evaluation.attacks.attackers import AttackedWorlds, AttackerName, HasGate, HasOpponent, attackers_of
from rrl.evaluation.episodes import run_episodes
from rrl.evaluation.training.nominal import MOST_WORLDS, is_time
from rrl.random_streams import Purpose, derived_seed


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
        pl_module.log_dict({f"attack/{name}": value for name, value in returns.items()}, batch_size=1)
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
