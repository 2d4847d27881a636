"""Toy environments whose every number is known in advance."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

Observation = NDArray[np.float64]


class Counter(gymnasium.Env[Observation, Observation]):
    """The observation is the step number, the reward is ten times it; the episode terminates after ``length`` steps."""

    def __init__(self, length: int = 5) -> None:
        self.length = length
        self.observation_space = Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.count = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict]:
        super().reset(seed=seed)
        self.count = 0
        return np.array([0.0]), {}

    def step(self, action: Observation) -> tuple[Observation, float, bool, bool, dict]:
        reward = 10.0 * self.count
        self.count += 1
        return np.array([float(self.count)]), reward, self.count >= self.length, False, {}


class PointMass(gymnasium.Env[Observation, Observation]):
    """A linear-quadratic point mass: position and velocity cost, the action is a force. Never terminates."""

    def __init__(self) -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.state = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict]:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1.0, 1.0, 2)
        return self.state.copy(), {}

    def step(self, action: Observation) -> tuple[Observation, float, bool, bool, dict]:
        position, velocity = self.state
        velocity = velocity + 0.2 * float(action[0])
        self.state = np.array([position + 0.2 * velocity, velocity])
        cost = position**2 + 0.1 * velocity**2 + 0.01 * float(action[0]) ** 2
        return self.state.copy(), -cost, False, False, {}


class Bandit(gymnasium.Env[Observation, Observation]):
    """One step an episode; the reward falls with the squared distance of the action from 0.5."""

    def __init__(self) -> None:
        self.observation_space = Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict]:
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action: Observation) -> tuple[Observation, float, bool, bool, dict]:
        return np.zeros(1), -((float(action[0]) - 0.5) ** 2), True, False, {}


class Wind(gymnasium.Env[Observation, Observation]):
    """Sailing into an unknown wind, observed afterwards: speed pays on average and costs in the tail.

    A step's reward is ``a (1 + 3 w) - a**2 / 2`` with a standard normal ``w``. In the mean ``a = 1`` is best; of the
    worst tenth of the episodes of eight steps, ``8 a - 4 a**2 - 1.755 * 3 * sqrt(8) * |a|`` on average, ``a = 0``.
    """

    def __init__(self) -> None:
        self.observation_space = Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict]:
        super().reset(seed=seed)
        return self.np_random.normal(size=1), {}

    def step(self, action: Observation) -> tuple[Observation, float, bool, bool, dict]:
        wind = self.np_random.normal(size=1)
        return wind, float(self.reward(action[0], wind[0])), False, False, {}

    @staticmethod
    def reward(speed: Any, wind: Any) -> Any:
        """The reward of a step, of numbers or elementwise."""
        return speed * (1.0 + 3.0 * wind) - speed**2 / 2


gymnasium.register("toy/Counter-v0", entry_point=Counter, max_episode_steps=10_000)
gymnasium.register("toy/CounterLimit-v0", entry_point=Counter, max_episode_steps=3, kwargs={"length": 100})
gymnasium.register("toy/PointMass-v0", entry_point=PointMass, max_episode_steps=50)
gymnasium.register("toy/Bandit-v0", entry_point=Bandit, max_episode_steps=10)
gymnasium.register("toy/Wind-v0", entry_point=Wind, max_episode_steps=8)
# What is native under its own name, as Gymnasium steps it.
gymnasium.register("toy/Pusher-v0", entry_point="gymnasium.envs.mujoco.pusher_v5:PusherEnv", max_episode_steps=100)
gymnasium.register("toy/Ant-v0", entry_point="gymnasium.envs.mujoco.ant_v5:AntEnv", max_episode_steps=1000)
