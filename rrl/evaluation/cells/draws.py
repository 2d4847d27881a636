"""Random numbers of evaluation episodes: episode ``e`` has the same ones under every condition."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrl.envs.task import Task
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
