"""Episodes that begin in given states instead of those of the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrl.checks import require_within

Array = NDArray[np.float64]


class Restarts:
    """Chooses for each episode whether it begins in one of some states, and in which.

    Each world has its own stream, so that what it draws does not depend on the others. Without states nothing is drawn.
    """

    def __init__(self, streams: Sequence[np.random.Generator]) -> None:
        self._streams = streams
        self._states, self._weights, self._share = np.empty((0, 0)), np.empty(0), 0.0
        self._ends = np.empty(0)

    def set(self, states: Array, weights: Array, share: float) -> None:
        """Let a share of the episodes begin in states ``[P, S]``, drawn in proportion to weights ``[P]``.

        Where no weight is positive all episodes begin as the task has it.

        Raises:
            ValueError: If a weight is negative or not finite, or the share lies outside of ``[0, 1]``.
        """
        require_within("[0, 1]", share=share)
        if not (np.isfinite(weights) & (weights >= 0.0)).all():
            raise ValueError("`weights` must be finite and not negative.")
        chosen = weights > 0.0
        self._states, self._weights, self._share = states[chosen].copy(), weights[chosen].copy(), share
        self._ends = np.cumsum(self._weights) / max(self._weights.sum(), np.finfo(np.float64).tiny)

    def draw(self, world: int) -> Array | None:
        """Draw the state in which the next episode of a world begins; None where that is up to the task. Shape ``[S]``.

        Example:
            >>> restarts = Restarts([np.random.default_rng(0)])
            >>> restarts.set(np.array([[1.0], [2.0]]), np.array([0.0, 3.0]), share=1.0)
            >>> restarts.draw(0)
            array([2.])
        """
        if self._share == 0.0 or len(self._states) == 0:
            return None
        is_chosen, which = self._streams[world].random(2)
        if is_chosen >= self._share:
            return None
        # Rounding may leave the last end below 1.
        return np.asarray(self._states[min(self._ends.searchsorted(which, side="right"), len(self._states) - 1)])

    def state_dict(self) -> dict[str, Any]:
        """Return everything on which later draws depend."""
        streams = [stream.bit_generator.state for stream in self._streams]
        return {"streams": streams, "states": self._states, "weights": self._weights, "share": self._share}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was called."""
        for stream, saved in zip(self._streams, state["streams"], strict=True):
            stream.bit_generator.state = saved
        self.set(np.asarray(state["states"]), np.asarray(state["weights"]), state["share"])
