"""Imagined trajectories: where they end, what they are worth, and what of them counts."""

from __future__ import annotations

import pytest
import torch

from rrl.algorithms.imagined import JudgedTrajectories, as_rollout
from rrl.diffusion import ImaginedTrajectories
from tests.fitting import adrrl, trajectories


def judged(observations, *, deviations=(0.0,) * 4, ended=(-1.0,) * 4, healthy=None, value=0.0, **settings):
    """One trajectory of four rows in the point mass, reward 1 each, where all states are worth ``value``."""
    data, zeros = trajectories(), torch.zeros(1, 4)
    data.spaces.healthy_low, data.spaces.healthy_high = healthy or (None, None)
    module = adrrl(data, **settings)
    output = module.protagonist.value_function.network[-1]
    torch.nn.init.zeros_(output.weight)
    torch.nn.init.constant_(output.bias, value)
    imagined = ImaginedTrajectories(
        observations=torch.tensor(observations).view(1, 4, 1).expand(-1, -1, 2),
        actions=zeros.unsqueeze(-1),
        rewards=torch.ones(1, 4),
        ended=torch.tensor(ended).view(1, 4),
        log_ratio=zeros[:, 0],
        path_kl=zeros[:, 0],
        deviations=torch.tensor(deviations).view(1, 4, 1),
    )
    return module.world_model.judge(imagined, module.protagonist)


def test_the_tasks_own_test_cuts_what_is_imagined():
    healthy = ([-1.0, -1.0], [1.0, 1.0])
    rollout = as_rollout(judged([0.0, 0.5, 2.0, 0.0], ended=(1.0,) * 4, healthy=healthy))
    assert rollout.terminated[:, 0].tolist() == [False, True, False]
    assert rollout.weights[:, 0].tolist() == [1.0, 1.0, 0.0]
    assert rollout.value_weights[:, 0].tolist() == [1.0, 1.0, 0.0]
    assert rollout.next_observations[1, 0].tolist() == [2.0, 2.0]
    assert not rollout.truncated.any()


def test_without_such_a_test_the_end_is_learnt():
    rollout = as_rollout(judged([0.0, 0.5, 2.0, 0.0], ended=(-0.9, 0.1, -0.9, -0.9)))
    assert rollout.terminated[:, 0].tolist() == [False, True, False]
    assert rollout.weights[:, 0].tolist() == [1.0, 1.0, 0.0]


def test_nothing_counts_from_the_first_action_that_is_not_the_policys():
    rollout = as_rollout(judged([0.0] * 4, deviations=(0.0, 9.0, 0.0, 0.0)))
    assert rollout.weights[:, 0].tolist() == [1.0, 0.0, 0.0]
    assert rollout.truncated[:, 0].tolist() == [True, False, False]


def test_returns_stop_at_the_imagined_end():
    one = judged([0.0] * 4, ended=(-1.0, 1.0, -1.0, -1.0), gamma=0.5)
    torch.testing.assert_close(one.returns, torch.tensor([1.5]))


@pytest.mark.parametrize(("bootstrap", "last", "first"), [(True, 8.0, 8.0), (False, 0.0, 0.0)])
def test_returns_go_on_with_the_value_of_the_last_state_if_told(bootstrap, last, first):
    one = judged([0.0] * 4, value=8.0, gamma=0.5, bootstrap=bootstrap)
    torch.testing.assert_close(one.returns, torch.tensor([1.0 + 0.5 + 0.25 + 0.125 * last]))
    torch.testing.assert_close(one.gains, one.returns - first)


def test_all_columns_are_selected_together():
    one = judged([0.0, 0.5, 2.0, 0.0])
    both = JudgedTrajectories(**{name: torch.cat([column, column + 1]) for name, column in vars(one).items()})
    second = both.select(torch.tensor([1]))
    assert all(torch.equal(column, getattr(one, name) + 1) for name, column in vars(second).items())
