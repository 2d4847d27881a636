"""A module of a user's own, as a file: environments that expect of others what Gymnasium promises."""

from __future__ import annotations

import sys

import pytest

SOURCE = '''
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict


class Robot(gymnasium.Env):
    """A point that is to stay at 0: checks its actions strictly, writes all observations to one array."""

    def __init__(self, nested=False, double=False):
        self.action_space = Box(-0.3, 0.3, (2,), np.float64 if double else np.float32)
        box = Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = Dict({"at": box}) if nested else box
        self.array, self.nested, self.steps = np.zeros(2), nested, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.array[:] = self.np_random.uniform(-1.0, 1.0, 2)
        return ({"at": self.array} if self.nested else self.array), {}

    def step(self, action):
        if not self.action_space.contains(action):
            raise AssertionError(f"{action!r} is not in {self.action_space}")
        self.steps += 1
        self.array += action
        return ({"at": self.array} if self.nested else self.array), -float(np.abs(self.array).sum()), False, False, {}


class Halving(gymnasium.ObservationWrapper):
    def observation(self, observation):
        return observation / 2.0


class Gridded(Robot):
    def __init__(self):
        super().__init__()
        self.action_space = Box(-3, 3, (2,), np.int64)


class Boundless(Robot):
    def __init__(self):
        super().__init__()
        self.action_space = Box(-np.inf, np.inf, (2,), np.float32)


gymnasium.register("mine/Robot-v0", entry_point=Robot)
gymnasium.register("mine/Nested-v0", entry_point=Robot, kwargs={"nested": True})
gymnasium.register("mine/Double-v0", entry_point=Robot, kwargs={"double": True}, max_episode_steps=20)
gymnasium.register("mine/Gridded-v0", entry_point=Gridded, max_episode_steps=20)
gymnasium.register("mine/Boundless-v0", entry_point=Boundless, max_episode_steps=20)
'''
FLATTEN = {"gymnasium.wrappers.FlattenObservation": None}


def write_module(folder, monkeypatch: pytest.MonkeyPatch, name: str = "my_robots") -> str:
    """Put the module into a folder of the search path, without importing it; return its name."""
    (folder / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name
