"""What stands between a policy and its worlds: noise, delay and pushes, with the same draws in every condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrl.envs.task import Task
from rrl.evaluation.cells.conditions import NOISES, PUSHES, Condition
from rrl.random_streams import Purpose, numpy_stream

Array = NDArray[np.float64]


class EpisodeDraws:
    """The draws of ``E`` episodes of at most ``T`` steps, each quantity from a stream of its own.

    Common random numbers make differences between conditions, and between policies, those of the conditions and the
    policies. They depend on nothing but seed and episode, so neither does an episode depend on what runs beside it.
    """

    def __init__(self, seed: int, num_episodes: int, *, num_steps: int, obs_dim: int, action_dim: int) -> None:
        self._seed, self._num_episodes, self._num_steps = seed, num_episodes, num_steps
        self._obs_dim, self._action_dim = obs_dim, action_dim

    def initial_states(
        self, task: Task, model_state: tuple[Array, Array], reset_noise_scale: float | None
    ) -> tuple[Array, Array]:
        """Draw the states in which the episodes start: positions ``[E, nq]`` and velocities ``[E, nv]``.

        ``model_state`` is that of the model file; None leaves the task's ``reset_noise_scale`` as it is.
        """
        if reset_noise_scale is not None:
            changed: dict[str, Any] = {"reset_noise_scale": reset_noise_scale}
            task = replace(task, **changed)
        drawn = [task.initial_state(*model_state, generator) for generator in self._generators(Purpose.EPISODE_START)]
        return np.stack([state[0] for state in drawn]), np.stack([state[1] for state in drawn])

    @cached_property
    def observation_noise(self) -> Array:
        """Standard normal noise for each feature of each step. Shape ``[E, T, O]``."""
        return self._normal(Purpose.OBSERVATION_NOISE, self._obs_dim)

    @cached_property
    def action_noise(self) -> Array:
        """Standard normal noise for each action of each step. Shape ``[E, T, A]``."""
        return self._normal(Purpose.ACTION_NOISE, self._action_dim)

    @cached_property
    def push_times(self) -> NDArray[np.int64]:
        """The step in which a push begins: in the first half of the limit, so that its effect shows. Shape ``[E]``."""
        latest = max(1, self._num_steps // 2)
        return np.array([generator.integers(latest) for generator in self._generators(Purpose.PUSH_TIME)])

    @cached_property
    def push_forces(self) -> Array:
        """Uniform numbers between -1 and 1 for each step. Shape ``[E, T]``."""
        return np.stack([
            generator.uniform(-1.0, 1.0, self._num_steps) for generator in self._generators(Purpose.PUSH_FORCE)
        ])

    def _normal(self, purpose: Purpose, size: int) -> Array:
        shape = (self._num_steps, size)
        return np.stack([generator.standard_normal(shape) for generator in self._generators(purpose)])

    def _generators(self, purpose: Purpose) -> list[np.random.Generator]:
        """One random stream per episode."""
        return [numpy_stream(purpose, self._seed, episode) for episode in range(self._num_episodes)]


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
