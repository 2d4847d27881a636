"""Episodes are counted without favouring short ones."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rrl.evaluation import run_episodes
from rrl.evaluation.episodes import collect_episodes


class Countdown(gymnasium.Env):
    """World ``i`` has episodes of ``i + 1`` steps with reward 1; odd worlds fail, even ones are cut off."""

    observation_space = Box(-np.inf, np.inf, (1,))
    action_space = Box(-1.0, 1.0, (1,))

    def __init__(self, world) -> None:
        self.world, self.left, self.actions = world, 0, []

    def reset(self, *, seed=None, options=None):
        self.left = self.world + 1
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action):
        self.actions.append(float(action[0]))
        self.left -= 1
        ended = self.left == 0
        return np.zeros(1, dtype=np.float32), 1.0, ended and self.world % 2 == 1, ended and self.world % 2 == 0, {}


class Constant:
    def act(self, observations, noise):
        assert not noise.any(), "evaluation takes the mean action"
        return torch.full_like(noise, 3.0)


@pytest.fixture
def envs():
    envs = SyncVectorEnv(
        [lambda world=world: Countdown(world) for world in range(3)], autoreset_mode=AutoresetMode.SAME_STEP
    )
    yield envs
    envs.close()


def test_each_world_contributes_its_share(envs):
    episodes = run_episodes(envs, Constant(), 7)
    assert episodes.lengths.tolist() == [1, 1, 1, 2, 2, 3, 3]
    assert episodes.returns.tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert episodes.failed.tolist() == [False] * 3 + [True] * 2 + [False] * 2
    assert episodes.forward_distances is None


def test_each_step_is_told_to_whoever_shows_progress(envs):
    steps = []
    collect_episodes(envs, lambda observations: observations, 3, on_step=lambda: steps.append(None))
    assert len(steps) == 3  # the world that takes longest needs three


def test_fewer_episodes_than_worlds_are_possible(envs):
    assert run_episodes(envs, Constant(), 1).lengths.tolist() == [1]


def test_actions_are_clipped_to_the_box(envs):
    run_episodes(envs, Constant(), 3)
    assert set(envs.envs[2].actions) == {1.0}


def test_no_episodes_are_refused(envs):
    with pytest.raises(ValueError, match="`num_episodes` must be at least 1, got 0"):
        run_episodes(envs, Constant(), 0)
