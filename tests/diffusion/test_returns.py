"""Targets, standardisation and moving average of the return model."""

import copy

import pytest
import torch
from torch import nn

from rrl.diffusion.residual_mlp import ResidualSizes
from rrl.diffusion.returns import ReturnModel, TargetScale, ema_update, window_returns

REWARDS = torch.tensor([[1.0, 2.0, 4.0, 99.0]])
VALUES = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
ALL, NONE = torch.ones(1, 4).bool(), torch.zeros(1, 4).bool()


def test_a_full_window_is_continued_by_the_value_of_its_last_row():
    expected = 1.0 + 0.5 * 2.0 + 0.25 * 4.0 + 0.125 * 40.0
    assert window_returns(REWARDS, ALL, NONE, VALUES, gamma=0.5).item() == expected


def test_zero_values_give_the_papers_return():
    assert window_returns(REWARDS, ALL, NONE, torch.zeros(1, 4), gamma=0.5).item() == 3.0


def test_nothing_follows_a_termination():
    terminated = torch.tensor([[False, True, False, False]])
    valid = torch.tensor([[True, True, False, False]])
    assert window_returns(REWARDS, valid, terminated, VALUES, gamma=0.5).item() == 2.0


def test_a_time_limit_is_continued_by_the_value_of_the_state_after_it():
    valid = torch.tensor([[True, True, False, False]])
    assert window_returns(REWARDS, valid, NONE, VALUES, gamma=0.5).item() == 2.0 + 0.25 * 30.0


def test_a_termination_in_the_last_row_lies_behind_the_window():
    terminated = torch.tensor([[False, False, False, True]])
    assert window_returns(REWARDS, ALL, terminated, VALUES, gamma=0.5).item() == 8.0


def test_windows_of_different_lengths_mix():
    valid = torch.tensor([[True, True, True, True], [True, False, False, False]])
    returns = window_returns(REWARDS.expand(2, -1), valid, torch.zeros(2, 4).bool(), VALUES.expand(2, -1), gamma=1.0)
    assert returns.tolist() == [47.0, 21.0]


def make_model(seed: int = 0) -> ReturnModel:
    torch.manual_seed(seed)
    return ReturnModel(3, 2, 4, ResidualSizes(hidden_dim=16, num_layers=1))


def test_prediction_is_one_number_per_trajectory():
    inputs = torch.randn(5, 4, 3), torch.randn(5, 4, 2), torch.randn(5, 3), torch.rand(5) + 0.1
    assert make_model()(*inputs).shape == (5,)


def test_standardised_targets_have_zero_mean_and_unit_variance():
    scale, targets = TargetScale(), 40.0 + 5.0 * torch.randn(1000)
    scale.update(scale.statistics(targets[:300]))
    scale.update(scale.statistics(targets[300:]))
    standardized = scale.standardize(targets)
    torch.testing.assert_close(standardized.mean(), torch.tensor(0.0), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(standardized.std(correction=0), torch.tensor(1.0))


def test_constant_targets_stay_finite():
    scale = TargetScale()
    scale.update(scale.statistics(torch.full((8,), 1000.0)))
    assert torch.isfinite(scale.standardize(torch.tensor([1000.0, 1001.0]))).all()


def test_the_moving_average_really_moves():
    source = nn.Sequential(make_model(), TargetScale())
    target = copy.deepcopy(source)
    before = [parameter.clone() for parameter in target.parameters()]
    with torch.no_grad():
        for parameter in source.parameters():
            parameter += 1.0
    source[1].update(source[1].statistics(torch.tensor([1.0, 3.0])))
    ema_update(target, source, decay=0.9)
    for old, new in zip(before, target.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1)
    assert target[1].mean == 2.0


def test_the_moving_average_converges_to_a_source_at_rest():
    source, target = make_model(), make_model(seed=1)
    for _ in range(200):
        ema_update(target, source, decay=0.9)
    for reached, wanted in zip(target.parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(reached, wanted)


def test_an_average_of_itself_raises():
    model = make_model()
    with pytest.raises(ValueError, match="`target` and `source` must be two modules"):
        ema_update(model, model, decay=0.9)
