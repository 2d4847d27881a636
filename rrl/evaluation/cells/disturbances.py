"""What stands between a policy and its worlds: noise on what it sees and does, delay, pushes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.cells.conditions import NOISES, PUSHES, Condition
from rrl.evaluation.cells.draws import EpisodeDraws

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_NAMES = (*NOISES, *PUSHES)


class Disturbances:
    """The noise, delays and pushes of ``N`` worlds, each world in an episode of its own under its own condition.

    The conditions are all that occur; ``low`` and ``high`` are the ends of the action box, shape ``[A]``.
    """

    def __init__(
        self, conditions: Sequence[Condition], draws: EpisodeDraws, num_worlds: int, *, low: Array, high: Array
    ) -> None:
        self._draws, self._low, self._high = draws, low, high
        self._table = np.array([[condition.value(name) for name in _NAMES] for condition in conditions])
        self._used = {name for name, column in zip(_NAMES, self._table.T, strict=True) if column.any()}
        self._levels = np.zeros((num_worlds, len(_NAMES)))
        self.episodes = np.zeros(num_worlds, dtype=np.intp)
        """Index of the episode of each world. Shape ``[N]``."""
        self.steps = np.zeros(num_worlds, dtype=np.intp)
        """Steps that each world has made in its episode. Shape ``[N]``."""
        longest_delay = int(self._table[:, _NAMES.index("action_delay")].max())
        self._chosen = np.zeros((num_worlds, longest_delay + 1, len(low)))

    def begin(self, worlds: Indices, conditions: Indices, episodes: Indices) -> None:
        """Start episodes in ``K`` worlds: index of the world, of its condition and of its episode, all ``[K]``."""
        self._levels[worlds] = self._table[conditions]
        self.episodes[worlds], self.steps[worlds] = episodes, 0
        self._chosen[worlds] = 0.0

    def observe(self, observations: Array) -> Array:
        """Turn true observations ``[N, O]`` into what the policy sees."""
        if "observation_noise" not in self._used:
            return observations
        noise = self._draws.observation_noise[self.episodes, self.steps]
        return observations + self._level("observation_noise")[:, None] * noise

    def execute(self, actions: Array) -> Array:
        """Delay the chosen actions ``[N, A]``, add noise, and keep them in the box; 0 while the first is under way."""
        actions = self._delayed(np.clip(actions, self._low, self._high))
        if "action_noise" not in self._used:
            return actions
        scale = self._level("action_noise")[:, None] * (self._high - self._low) / 2.0
        noise = self._draws.action_noise[self.episodes, self.steps]
        return np.clip(actions + scale * noise, self._low, self._high)

    def push(self) -> Array | None:
        """Return the forces of this step along x, newtons, shape ``[N]``; None where no condition pushes."""
        if self._used.isdisjoint(PUSHES):
            return None
        begins = self._draws.push_times[self.episodes]
        return np.asarray(
            self._level("push_constant")
            + self._level("push_impulse") * (self.steps == begins)
            + self._level("push_step") * (self.steps >= begins)
            + self._level("push_random") * self._draws.push_forces[self.episodes, self.steps]
        )

    def _delayed(self, actions: Array) -> Array:
        length = self._chosen.shape[1]
        if length == 1:
            return actions
        worlds = np.arange(len(actions))
        self._chosen[worlds, self.steps % length] = actions
        # The slots that an episode has not reached yet hold zeros.
        due = self.steps - self._level("action_delay").astype(np.intp)
        return np.where((due >= 0)[:, None], self._chosen[worlds, due % length], 0.0)

    def _level(self, name: str) -> Array:
        return self._levels[:, _NAMES.index(name)]
