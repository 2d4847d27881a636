"""The protagonist under attack: the tests that end an iteration of RARL's published code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from rrl.checkpoints import actor_of
from rrl.evaluation.callback import MOST_WORLDS
from rrl.evaluation.episodes import EpisodeReturns, run_episodes
from rrl.random_streams import Purpose, derived_seed, numpy_stream
from rrl.types import Actor, Adversary

PUSH_STEPS = 100
"""Steps that a push of the step attacks lasts; a tenth of the longest episode in the published code."""
PUSH_PROBABILITY = 0.005
"""Probability that one starts in a step; five pushes in the longest episode in the published code."""

Array = NDArray[np.float64]
AttackerName = Literal["zero", "random", "step", "random_step", "learned", "gated"]


class Attacker(Protocol):
    """Chooses the forces of a test, step by step."""

    def __call__(self, observations: Array, starts: NDArray[np.bool_]) -> Array:
        """Return adversary actions ``[N, F]`` for observations ``[N, O]``; ``starts`` is True where episodes begin."""
        ...


class RandomAttack:
    """Forces that are uniform within the limit, drawn anew in every step.

    Args:
        shape: Worlds and size of the adversary's action, ``(N, F)``.
        seed: Seed of the draws.
    """

    def __init__(self, shape: tuple[int, int], seed: int) -> None:
        self._shape, self._generator = shape, numpy_stream(Purpose.ATTACKER, seed)

    def __call__(self, observations: Array, starts: NDArray[np.bool_]) -> Array:
        """Draw forces, see :class:`Attacker`."""
        return self._generator.uniform(-1.0, 1.0, self._shape)


class StepAttack:
    """Pushes that begin at random times and are held for a while.

    Args:
        shape: Worlds and size of the adversary's action, ``(N, F)``.
        seed: Seed of the draws.
        random_magnitude: Draw the force of each push uniformly within the limit; otherwise it is the limit, along all
            axes in the positive direction, as in the published code.
    """

    def __init__(self, shape: tuple[int, int], seed: int, *, random_magnitude: bool) -> None:
        self._shape, self._generator = shape, numpy_stream(Purpose.ATTACKER, seed)
        self._random_magnitude = random_magnitude
        self._steps_left = np.zeros(shape[0], dtype=np.int64)
        self._actions = np.zeros(shape)

    def __call__(self, observations: Array, starts: NDArray[np.bool_]) -> Array:
        """Go on with the pushes, and begin new ones, see :class:`Attacker`."""
        self._steps_left[starts] = 0
        draws = self._generator.random(self._shape[0])
        begins = (self._steps_left == 0) & (draws < PUSH_PROBABILITY)
        magnitudes = self._generator.uniform(-1.0, 1.0, self._shape) if self._random_magnitude else np.ones(self._shape)
        self._actions[begins] = magnitudes[begins]
        self._steps_left[begins] = PUSH_STEPS
        actions = self._actions * (self._steps_left > 0)[:, None]
        self._steps_left = np.maximum(self._steps_left - 1, 0)
        return actions


class LearnedAttack:
    """The mean action of a learned adversary.

    Args:
        adversary: The adversary; a gate decides with the draws of its worlds.
        shape: Worlds and size of the adversary's action, ``(N, F)``.
        seed: Seed of the draws.
    """

    def __init__(self, adversary: Adversary, shape: tuple[int, int], seed: int) -> None:
        self._adversary, self._shape = adversary, shape
        self._generator = numpy_stream(Purpose.ATTACKER, seed)

    def __call__(self, observations: Array, starts: NDArray[np.bool_]) -> Array:
        """Ask the adversary, see :class:`Attacker`."""
        uniforms = torch.from_numpy(self._generator.random(self._shape[0], dtype=np.float32))
        seen = torch.as_tensor(observations, dtype=torch.float32)
        attack = self._adversary.attack(seen, torch.zeros(self._shape), uniforms, torch.from_numpy(starts))
        actions: Array = torch.where(attack.is_open.unsqueeze(-1), attack.actions, 0.0).numpy().astype(np.float64)
        return actions


class AttackedWorlds(VectorWrapper[Any, Any, Any]):
    """Worlds with a built-in attacker: whoever steps them gives the protagonist's actions alone.

    Args:
        env: Worlds with an adversary.
        attacker: Chooses the forces.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], attacker: Attacker) -> None:
        super().__init__(env)
        self._attacker = attacker

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start episodes in all worlds; arguments and result are those of Gymnasium."""
        self._observations, infos = self.env.reset(seed=seed, options=options)
        self._starts = np.ones(self.num_envs, dtype=bool)
        return self._observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Advance all worlds under attack; arguments and result are those of Gymnasium."""
        worlds: Any = self.env
        forces = worlds.adversary_forces(self._attacker(self._observations, self._starts))
        self._observations, rewards, terminated, truncated, infos = worlds.step(actions, forces)
        self._starts = terminated | truncated
        return self._observations, rewards, terminated, truncated, infos


class AttackEvaluation(Callback):
    """Runs whole episodes of the protagonist's mean action against several attackers, while a game is trained.

    The worlds are those of training without pushes or random physics, with the task's own time limit. All attackers
    meet the same worlds, and they are the same at every test. Algorithms without an adversary are left alone.

    Logs the mean return, in units of reward: ``attack/zero`` (no force), ``attack/random`` (uniform in each step),
    ``attack/step`` and ``attack/random_step`` (pushes of 100 steps at random times), ``attack/learned`` (the run's own
    adversary, never gated), and where the algorithm has a gate ``attack/gated`` (the same behind its gate). A gated
    adversary pushes less, so ``attack/gated`` says nothing of robustness by itself.

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
        if every_n_epochs < 0:
            raise ValueError(f"`attacks.every_n_epochs` must be at least 0, got {every_n_epochs}.")
        if num_episodes < 1:
            raise ValueError(f"`attacks.num_episodes` must be at least 1, got {num_episodes}.")
        self.every_n_epochs, self.num_episodes = every_n_epochs, num_episodes
        self.attackers = tuple(attackers)

    @property
    def tests_learned_adversary(self) -> bool:
        """True where the returns against the learned adversary become known."""
        return self.every_n_epochs > 0 and "learned" in self.attackers

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test if it is time.

        Args:
            trainer: The trainer, whose datamodule makes the worlds.
            pl_module: The algorithm.
        """
        epochs = trainer.current_epoch + 1
        is_time = self.every_n_epochs > 0 and (epochs % self.every_n_epochs == 0 or epochs == trainer.max_epochs)
        if not is_time or not hasattr(pl_module, "make_adversary"):
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by every fit with a datamodule
        num_envs = min(self.num_episodes, MOST_WORLDS)
        metrics, seed = {}, derived_seed(Purpose.ATTACK_EVALUATION, data.seed)
        for name, make in attackers_of(pl_module).items():
            if name in self.attackers:
                envs = data.make_envs(num_envs, seed=seed, nominal=True)
                episodes = run_attacked(envs, actor_of(pl_module), make, self.num_episodes, seed=seed)
                metrics[f"attack/{name}"] = float(episodes.returns.mean())
        pl_module.log_dict(metrics, batch_size=1)
        if "attack/learned" in metrics and hasattr(pl_module, "on_attack_tested"):
            pl_module.on_attack_tested(metrics["attack/learned"])  # type: ignore[operator]  # a method of the algorithm


MakeAttacker = Callable[[tuple[int, int], int], Attacker]
"""Makes an attacker for worlds and size of the adversary's action ``(N, F)``, with a seed."""

FIXED_ATTACKERS: dict[AttackerName, MakeAttacker] = {
    "zero": lambda shape, seed: lambda observations, starts: np.zeros(shape),
    "random": RandomAttack,
    "step": lambda shape, seed: StepAttack(shape, seed, random_magnitude=False),
    "random_step": lambda shape, seed: StepAttack(shape, seed, random_magnitude=True),
}
"""Attackers that any two policies can be compared under."""


def attackers_of(algorithm: Any) -> dict[AttackerName, MakeAttacker]:
    """List the attackers of an algorithm: the fixed ones and its own.

    Args:
        algorithm: A game of this package.

    Returns:
        By name, how each is made.
    """
    own: dict[AttackerName, MakeAttacker] = {}
    if algorithm.game.opponent == "learned":
        own["learned"] = lambda shape, seed: LearnedAttack(algorithm.ungated_adversary(), shape, seed)
    if hasattr(algorithm, "risk"):
        own["gated"] = lambda shape, seed: LearnedAttack(algorithm.make_adversary(), shape, seed)
    return FIXED_ATTACKERS | own


def run_attacked(
    envs: VectorEnv[Any, Any, Any], actor: Actor, make: MakeAttacker, num_episodes: int, *, seed: int
) -> EpisodeReturns:
    """Run episodes under attack and close the worlds.

    Args:
        envs: Worlds with an adversary.
        actor: The protagonist, whose mean action acts.
        make: Makes the attacker.
        num_episodes: Episodes in all.
        seed: Seed of the attacker.

    Returns:
        The episodes.
    """
    worlds: Any = envs
    try:
        attacker = make((worlds.num_envs, worlds.adversary_dim), seed)
        return run_episodes(AttackedWorlds(envs, attacker), actor, num_episodes)
    finally:
        envs.close()
