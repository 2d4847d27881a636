"""Random pushes that no observation shows: part of the uncertainty against which a policy is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrl.checks import require_positive, require_within

Array = NDArray[np.float64]

# Numbers are drawn ahead, since one call per world and step would cost more than the simulation of it.
_BLOCK_STEPS = 256


@dataclass(frozen=True)
class Pushes:
    """A random force along the world's x axis that is held for a while.

    It is drawn from a normal distribution when an episode starts, and drawn anew before each step with a fixed
    probability, so it lasts ``1 / redraw_probability`` steps on average.
    """

    force_std: float
    """Standard deviation of the force, newtons. Positive."""
    redraw_probability: float
    """Probability per environment step, in ``[0, 1]``; 0 holds a push for a whole episode."""

    def __post_init__(self) -> None:
        """Refuse what is no distribution."""
        require_positive(force_std=self.force_std)
        require_within("[0, 1]", redraw_probability=self.redraw_probability)


class PushProcess:
    """The pushes of all worlds at their present time, each from its world's own stream, which nobody else uses."""

    def __init__(self, pushes: Pushes, generators: list[np.random.Generator]) -> None:
        self._pushes, self._generators = pushes, generators
        self._redraws = np.empty((0, len(generators)))
        self._candidates = np.empty((0, len(generators)))
        self._cursor = 0
        self.forces: Array = np.zeros(len(generators))
        """Forces along x that act now, newtons. Shape ``[N]``."""

    def restart(self, worlds: NDArray[np.intp]) -> None:
        """Draw new pushes for worlds whose episode starts."""
        for world in worlds:
            self.forces[world] = self._pushes.force_std * self._generators[world].standard_normal()

    def advance(self) -> Array:
        """Move all worlds one step on and return the forces along x for it, newtons. Shape ``[N]``."""
        if self._cursor == len(self._redraws):
            self._redraws = np.stack([generator.random(_BLOCK_STEPS) for generator in self._generators], axis=1)
            normal = np.stack([generator.standard_normal(_BLOCK_STEPS) for generator in self._generators], axis=1)
            self._candidates, self._cursor = self._pushes.force_std * normal, 0
        redraw = self._redraws[self._cursor] < self._pushes.redraw_probability
        self.forces = np.where(redraw, self._candidates[self._cursor], self.forces)
        self._cursor += 1
        return self.forces

    def state_dict(self) -> dict[str, Any]:
        """Return everything on which later pushes depend."""
        return {
            "streams": [generator.bit_generator.state for generator in self._generators],
            "redraws": self._redraws.copy(),
            "candidates": self._candidates.copy(),
            "cursor": self._cursor,
            "forces": self.forces.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where :meth:`state_dict` was called."""
        for generator, stream in zip(self._generators, state["streams"], strict=True):
            generator.bit_generator.state = stream
        self._redraws, self._candidates = np.array(state["redraws"]), np.array(state["candidates"])
        self._cursor = state["cursor"]
        self.forces = np.array(state["forces"])
