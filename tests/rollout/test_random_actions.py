"""Random actions come as often as asked, are not seen by the policy, and continue from a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rrl.data import RolloutDataModule
from rrl.envs import make_vec_env
from rrl.rollout import RolloutCollector
from tests.rollout.test_collector import Follower, Recorder, assert_equal


def collector(random_actions: float, num_envs: int = 4):
    envs = Recorder(make_vec_env("toy/PointMass-v0", num_envs, seed=3))
    return RolloutCollector(envs, seed=3, random_actions=random_actions)


def test_actions_are_replaced_with_the_probability_and_recorded_as_chosen():
    source = collector(0.25)
    recorded = source.collect(Follower(), 1000).transitions.actions.numpy()
    received = np.stack(source.envs.received)
    replaced = np.abs(received - recorded.clip(-1.0, 1.0)) > 1e-6
    assert replaced.mean() == pytest.approx(0.25, abs=0.03)
    drawn = received[replaced]
    assert np.abs(drawn).max() <= 1.0
    # Mean and variance of a uniform draw from -1 to 1.
    assert drawn.mean() == pytest.approx(0.0, abs=0.08)
    assert drawn.var() == pytest.approx(1.0 / 3.0, abs=0.05)


def test_probability_zero_changes_nothing():
    plain = RolloutCollector(make_vec_env("toy/PointMass-v0", 4, seed=3), seed=3)
    assert_equal(collector(0.0).collect(Follower(), 60), plain.collect(Follower(), 60))


def test_a_world_does_not_depend_on_how_many_there_are():
    few, many = collector(0.25, 2).collect(Follower(), 40), collector(0.25, 5).collect(Follower(), 40)
    assert torch.equal(few.transitions.observations, many.transitions.observations[:, :2])


@pytest.mark.mujoco
def test_a_checkpoint_continues_the_random_actions():
    def make():
        envs = make_vec_env("Hopper-v5", 2, seed=3)
        return RolloutCollector(envs, seed=3, random_actions=0.5)

    class Still:
        def act(self, observations, noise):
            return 0.3 * noise

    source, restored = make(), make()
    source.collect(Still(), 20)
    restored.load_state_dict(source.state_dict())
    restored.envs.load_state_dict(source.envs.state_dict())
    assert_equal(source.collect(Still(), 20), restored.collect(Still(), 20))


@pytest.mark.mujoco
def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`random_actions` must lie in \[0, 1\), got 1\.0"):
        RolloutDataModule("Hopper-v5", random_actions=1.0)
