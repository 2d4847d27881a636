"""Actuators that fail now and then: executed actions that are drawn at random instead of chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rrl.random_streams import Purpose, numpy_stream


class RandomActions:
    """Replaces each action with a fixed probability by one that is uniform in the action box.

    It is the probabilistic action-robust setting with chance in the adversary's place: part of the world, and not seen
    by the policy, whose own action is what is recorded.

    Life of a rollout: `begin`, then `execute` before each step.

    Args:
        box: The action box.
        probability: In ``[0, 1)``; 0 replaces none.
        num_worlds: Worlds, ``N``.
        seed: Seed of the streams.
        first_world: Index of the first world over all ranks.

    References:
        Tessler, Efroni and Mannor, "Action robust reinforcement learning and applications in continuous control",
        ICML 2019, definition 1.
    """

    def __init__(self, box: Box, probability: float, num_worlds: int, *, seed: int, first_world: int = 0) -> None:
        self._box, self._probability = box, probability
        worlds = range(first_world, first_world + num_worlds)
        self._streams = [numpy_stream(Purpose.RANDOM_ACTION, seed, world) for world in worlds]

    def begin(self, num_steps: int) -> None:
        """Draw for a rollout of ``num_steps``, since a call per world and step would cost more than the draw."""
        size = (num_steps, 1 + self._box.shape[0])
        draws = np.stack([stream.random(size) for stream in self._streams], axis=1)
        self._replaced = draws[..., 0] < self._probability
        self._candidates = self._box.low + draws[..., 1:] * (self._box.high - self._box.low)

    def execute(self, step: int, actions: NDArray[Any]) -> NDArray[Any]:
        """Return what the worlds receive where ``[N, A]`` was chosen, in a step of the rollout. Shape ``[N, A]``."""
        chosen: NDArray[Any] = np.where(self._replaced[step][:, None], self._candidates[step], actions)
        return chosen

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the states of the streams, in plain types."""
        return [dict(stream.bit_generator.state) for stream in self._streams]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Continue from a state that :meth:`state_dict` returned for as many worlds."""
        for stream, saved in zip(self._streams, state, strict=True):
            stream.bit_generator.state = saved
