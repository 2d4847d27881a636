"""Who exerts the forces of a test: the attackers of RARL's published code, and a run's own adversary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from rrl.algorithms.rarl import Game
from rrl.random_streams import Purpose, numpy_stream
from rrl.types import Adversary

PUSH_STEPS = 100
"""Steps that a push of the step attacks lasts; a tenth of the longest episode in the published code."""
PUSH_PROBABILITY = 0.005
"""Probability that one starts in a step; five pushes in the longest episode in the published code."""

Array = NDArray[np.float64]
AttackerName = Literal["zero", "random", "step", "random_step", "learned", "gated"]


Attacker = Callable[[Array, NDArray[np.bool_]], Array]
"""Chooses the forces of a test step by step: from observations ``[N, O]`` and where episodes begin, boolean ``[N]``, to
adversary actions ``[N, F]``."""
MakeAttacker = Callable[[tuple[int, int], int], Attacker]
"""Makes an attacker for ``(N, F)``, with a seed for its draws."""


@runtime_checkable
class HasOpponent(Protocol):
    """A game: an algorithm whose protagonist is attacked."""

    game: Game
    """Whether the adversary learns."""

    def make_adversary(self) -> Adversary:
        """Return who pushes in the worlds."""
        ...

    def ungated_adversary(self) -> Adversary:
        """Return the learned adversary as it pushes when nothing holds it back."""
        ...


@runtime_checkable
class HasGate(HasOpponent, Protocol):
    """A game whose adversary pushes only where a gate is open, by a risk that the tests may define."""

    def on_attack_tested(self, mean_return: float) -> None:
        """Take in the mean return of a test of the protagonist against the learned adversary."""
        ...


def random_attack(shape: tuple[int, int], seed: int) -> Attacker:
    """Make forces that are uniform within the limit, drawn anew in every step; see :data:`MakeAttacker`."""
    generator = numpy_stream(Purpose.ATTACKER, seed)
    return lambda observations, starts: generator.uniform(-1.0, 1.0, shape)


class StepAttack:
    """Pushes that begin at random times and are held for a while; see :data:`MakeAttacker`.

    With ``random_magnitude`` the force of each push is drawn uniformly within the limit; otherwise it is the limit,
    along all axes in the positive direction, as in the published code.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        seed: int,
        *,
        random_magnitude: bool,
        steps: int = PUSH_STEPS,
        probability: float = PUSH_PROBABILITY,
    ) -> None:
        self._shape, self._generator = shape, numpy_stream(Purpose.ATTACKER, seed)
        self._random_magnitude, self._push_steps, self._probability = random_magnitude, steps, probability
        self._steps_left = np.zeros(shape[0], dtype=np.int64)
        self._actions = np.zeros(shape)

    def __call__(self, observations: Array, starts: NDArray[np.bool_]) -> Array:
        """Go on with the pushes, and begin new ones, see :class:`Attacker`."""
        self._steps_left[starts] = 0
        draws = self._generator.random(self._shape[0])
        begins = (self._steps_left == 0) & (draws < self._probability)
        magnitudes = self._generator.uniform(-1.0, 1.0, self._shape) if self._random_magnitude else np.ones(self._shape)
        self._actions[begins] = magnitudes[begins]
        self._steps_left[begins] = self._push_steps
        actions = self._actions * (self._steps_left > 0)[:, None]
        self._steps_left = np.maximum(self._steps_left - 1, 0)
        return actions


def learned_attack(adversary: Adversary, shape: tuple[int, int], seed: int) -> Attacker:
    """Make the mean action of an adversary, whose gate decides with the draws; see :data:`MakeAttacker`."""
    generator = numpy_stream(Purpose.ATTACKER, seed)

    def attack(observations: Array, starts: NDArray[np.bool_]) -> Array:
        uniforms = torch.from_numpy(generator.random(shape[0], dtype=np.float32))
        seen = torch.as_tensor(observations, dtype=torch.float32)
        chosen = adversary.attack(seen, torch.zeros(shape), uniforms, torch.from_numpy(starts))
        return np.asarray(torch.where(chosen.is_open.unsqueeze(-1), chosen.actions, 0.0), dtype=np.float64)

    return attack


class AttackedWorlds(VectorWrapper[Any, Any, Any]):
    """Worlds with a built-in attacker: whoever steps them gives the protagonist's actions alone."""

    def __init__(self, env: VectorEnv[Any, Any, Any], make: MakeAttacker, seed: int) -> None:
        super().__init__(env)
        worlds: Any = env
        self._attacker = make((worlds.num_envs, worlds.adversary_dim), seed)
        self._squares, self._count = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start episodes in all worlds."""
        self._observations, infos = self.env.reset(seed=seed, options=options)
        self._starts = np.ones(self.num_envs, dtype=bool)
        return self._observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Advance all worlds under attack."""
        worlds: Any = self.env
        pushes = np.clip(self._attacker(self._observations, self._starts), -1.0, 1.0)
        self._squares += float(np.square(pushes).sum())
        self._count += pushes.size
        self._observations, rewards, terminated, truncated, infos = worlds.step(
            actions, worlds.adversary_forces(pushes)
        )
        self._starts = terminated | truncated
        return self._observations, rewards, terminated, truncated, infos

    @property
    def rms(self) -> float:
        """Root mean square of the executed pushes along an axis so far, as a share of the force limit."""
        return float(np.sqrt(self._squares / max(self._count, 1)))


FIXED_ATTACKERS: dict[AttackerName, MakeAttacker] = {
    "zero": lambda shape, seed: lambda observations, starts: np.zeros(shape),
    "random": random_attack,
    "step": lambda shape, seed: StepAttack(shape, seed, random_magnitude=False),
    "random_step": lambda shape, seed: StepAttack(shape, seed, random_magnitude=True),
}
"""Attackers that any two policies can be compared under."""


def attackers_of(algorithm: HasOpponent) -> dict[AttackerName, MakeAttacker]:
    """List the attackers of a game by name: the fixed ones and its own."""
    own: dict[AttackerName, MakeAttacker] = {}
    if algorithm.game.opponent == "learned":
        own["learned"] = lambda shape, seed: learned_attack(algorithm.ungated_adversary(), shape, seed)
    if isinstance(algorithm, HasGate):
        own["gated"] = lambda shape, seed: learned_attack(algorithm.make_adversary(), shape, seed)
    return FIXED_ATTACKERS | own
