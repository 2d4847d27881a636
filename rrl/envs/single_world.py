"""One world of a native task as an environment of Gymnasium, for whoever trains or looks at it with other tools."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rrl.envs.simulation import Simulations
from rrl.envs.task import make_transition
from rrl.envs.tasks import make_task

Array = NDArray[np.float64]


class SingleWorld(gymnasium.Env[Array, NDArray[Any]]):
    """A task of :data:`~rrl.envs.tasks.TASKS` with its options, without a time limit of its own."""

    def __init__(self, env_id: str, **options: Any) -> None:
        self.task = make_task(env_id, options)
        self._simulations = Simulations(self.task.model_path, 1, 1, fields=self.task.fields)
        self.dt: float = self._simulations.model.opt.timestep * self.task.frame_skip
        low, high = self._simulations.model.actuator_ctrlrange.astype(np.float32).T
        self.action_space = Box(low, high, dtype=np.float32)
        self._observation = self.task.observe(self._simulations.worlds)
        self.observation_space = Box(-np.inf, np.inf, self._observation.shape[1:], dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        positions, velocities = self.task.initial_state(*self._simulations.initial_state, self.np_random)
        self._simulations.begin(np.zeros(1, dtype=np.intp), positions[None], velocities[None])
        self._observation = self.task.observe(self._simulations.worlds)
        return self._observation[0].copy(), {}

    def step(self, action: NDArray[Any]) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Advance by one step."""
        step = make_transition(self._simulations, self.task, np.asarray(action)[None], self._observation)
        self._observation = step.observations
        return self._observation[0].copy(), float(step.rewards[0]), bool(step.terminated[0]), False, {}
