"""Real and imagined transitions get the shares of a policy update that they shall have."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rrl.algorithms.mixture import JudgedTrajectories, as_rollout, mix_real_and_imagined
from rrl.diffusion import ImaginedTrajectories
from rrl.types import RolloutBatch
from tests.fitting import adrrl, trajectories


def batch(weights: list[float]) -> RolloutBatch:
    """One world; only the weights matter."""
    weight = torch.tensor(weights).unsqueeze(1)
    vectors, flags = torch.zeros(*weight.shape, 1), weight > 9.0
    return RolloutBatch(vectors, vectors, weight, flags, flags, vectors, weights=weight, value_weights=weight)


@pytest.mark.parametrize("real_fraction", [0.25, 1.0])
def test_the_real_share_is_as_asked_and_the_rest_is_shared_by_weight(real_fraction):
    real, *imagined = mix_real_and_imagined(batch([1.0, 1.0]), [batch([1.0, 1.0, 0.0]), batch([1.0])], real_fraction)
    torch.testing.assert_close(real.weights, torch.full((2, 1), real_fraction / 2))
    rest = (1.0 - real_fraction) / 3
    torch.testing.assert_close(imagined[0].weights, torch.tensor([[rest], [rest], [0.0]]))
    torch.testing.assert_close(imagined[1].weights, torch.tensor([[rest]]))


def test_without_a_real_share_the_imagined_ones_are_alone():
    (imagined,) = mix_real_and_imagined(batch([1.0]), [batch([1.0, 3.0])], 0.0)
    torch.testing.assert_close(imagined.weights, torch.tensor([[0.25], [0.75]]))


def test_imagined_transitions_that_were_all_dropped_leave_the_real_ones():
    real, imagined = mix_real_and_imagined(batch([1.0]), [batch([0.0])], 0.5)
    assert real.weights.sum() == 0.5
    assert imagined.weights.sum() == 0.0


def test_weights_in_the_fit_of_the_value_function_stay():
    given = replace(batch([1.0, 1.0]), value_weights=torch.full((2, 1), 3.0))
    real, _ = mix_real_and_imagined(given, [batch([1.0])], 0.5)
    assert torch.equal(real.value_weights, given.value_weights)


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
