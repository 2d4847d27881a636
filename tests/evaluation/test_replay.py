"""Replays: in unchanged worlds the simulator does again what it did."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tests.environments  # noqa: F401  (registers the toys)
from rrl.envs import make_vec_env
from rrl.evaluation.replay import replay
from rrl.rollout import RolloutCollector

pytestmark = pytest.mark.mujoco


class Noise:
    """Acts at random."""

    def act(self, observations, noise):
        return 0.1 * noise


def rollout_of(env_id: str, num_steps: int):
    return RolloutCollector(make_vec_env(env_id, 3, seed=1), seed=1).collect(Noise(), num_steps)


@pytest.mark.parametrize("env_id", ["InvertedPendulum-v5", "HalfCheetah-v5", "Hopper-v5"])
def test_a_real_rollout_is_reproduced_from_its_own_state(env_id):
    real = rollout_of(env_id, 9)
    assert not real.transitions.ended[3:8].any()
    actions = real.transitions.actions[3:].transpose(0, 1)
    envs = make_vec_env(env_id, 3, seed=7)
    again = replay(envs, real.simulator_states[3], lambda step, seen: actions[:, step], draws=1, horizon=6)
    assert torch.equal(again.observations[0], real.transitions.observations[3:].transpose(0, 1))
    assert torch.equal(again.rewards[0, :, :-1], real.transitions.rewards[3:8].transpose(0, 1))
    assert again.valid[:, :, :-1].all()
    assert not again.valid[:, :, -1].any()


def falling(draws: int):
    """Replay a pendulum that is about to fall, and one that stands."""
    states = torch.tensor([[0.0, 0.19, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    envs = make_vec_env("InvertedPendulum-v5", 2 * draws, seed=0)
    return replay(envs, states, lambda step, seen: torch.zeros(2, 1), draws=draws, horizon=5)


def test_nothing_happens_behind_an_episodes_end():
    fallen = falling(1)
    assert fallen.terminated[0].tolist() == [[True] + [False] * 4, [False] * 5]
    assert fallen.valid[0].tolist() == [[True] + [False] * 4, [True] * 4 + [False]]
    assert fallen.rewards[0, 0, 1:].tolist() == [0.0] * 4
    assert fallen.observations[0, 0, 1, 1] > 0.2
    assert (fallen.observations[0, 0, 1:] == fallen.observations[0, 0, 1]).all()


def test_draws_are_rows_and_equal_in_unchanged_worlds():
    one, three = falling(1), falling(3)
    assert three.observations.shape == (3, 2, 5, 4)
    assert torch.equal(three.observations, one.observations.expand(3, -1, -1, -1))
    windows = three.as_windows()
    assert windows.observations.shape == (6, 5, 4)
    assert torch.equal(windows.observations[2:4], three.observations[1])


def test_actions_may_answer_what_each_world_shows():
    seen_by_policy = []

    def choose(step, seen):
        seen_by_policy.append(seen)
        return seen[..., :1]

    envs = make_vec_env("InvertedPendulum-v5", 4, seed=0, physics={"mass": (0.5, 1.5)})
    states = torch.zeros(2, 4, dtype=torch.float64)
    done = replay(envs, states, choose, draws=2, horizon=3)
    assert torch.equal(torch.stack(seen_by_policy, dim=2), done.observations[:, :, :2])


def test_worlds_that_cannot_be_set_are_refused():
    states = torch.zeros(2, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="`envs` must have 6 worlds, got 4"):
        replay(make_vec_env("InvertedPendulum-v5", 4), states, lambda step, seen: states, draws=3, horizon=3)
    with pytest.raises(TypeError, match="`envs` must be native worlds"):
        replay(make_vec_env("toy/PointMass-v0", 2), states, lambda step, seen: states, draws=1, horizon=3)


def test_actions_are_clipped_to_the_action_box():
    envs = make_vec_env("InvertedPendulum-v5", 1)
    states = np.zeros((1, 4))
    loud, full = (
        replay(envs, torch.from_numpy(states), lambda step, seen, a=a: torch.full((1, 1), a), draws=1, horizon=3)
        for a in (50.0, 3.0)
    )
    assert torch.equal(loud.observations, full.observations)
