"""Generalised advantage estimation against hand-worked numbers and its two limits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rrl.gae import generalized_advantage_estimation

NO = torch.zeros(3, 1, dtype=torch.bool)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def at(step: int) -> torch.Tensor:
    mask = NO.clone()
    mask[step] = True
    return mask


REWARDS, VALUES, NEXT_VALUES = column(1.0, 2.0, 3.0), column(10.0, 20.0, 30.0), column(20.0, 30.0, 40.0)


def test_it_equals_a_hand_worked_example():
    # deltas: 1 + 10 - 10 = 1, 2 + 15 - 20 = -3, 3 + 20 - 30 = -7; decay 0.5 * 0.5 = 0.25.
    estimate = generalized_advantage_estimation(REWARDS, VALUES, NEXT_VALUES, NO, NO, gamma=0.5, gae_lambda=0.5)
    expected = column(1.0 + 0.25 * (-3.0 + 0.25 * -7.0), -3.0 + 0.25 * -7.0, -7.0)
    torch.testing.assert_close(estimate.advantages, expected)
    torch.testing.assert_close(estimate.value_targets, expected + VALUES)


def test_lambda_0_is_the_one_step_error():
    estimate = generalized_advantage_estimation(REWARDS, VALUES, NEXT_VALUES, NO, NO, gamma=0.9, gae_lambda=0.0)
    torch.testing.assert_close(estimate.advantages, REWARDS + 0.9 * NEXT_VALUES - VALUES)


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3), st.floats(0.0, 1.0))
def test_lambda_1_is_the_monte_carlo_return(rewards: list[float], gamma: float):
    estimate = generalized_advantage_estimation(
        column(*rewards), VALUES, NEXT_VALUES, NO, NO, gamma=gamma, gae_lambda=1.0
    )
    first = rewards[0] + gamma * rewards[1] + gamma**2 * rewards[2] + gamma**3 * 40.0
    torch.testing.assert_close(estimate.value_targets[0, 0], torch.tensor(first, dtype=torch.float64))


def test_termination_cuts_the_future():
    estimate = generalized_advantage_estimation(REWARDS, VALUES, NEXT_VALUES, at(1), NO, gamma=0.9, gae_lambda=1.0)
    torch.testing.assert_close(estimate.value_targets[:2], column(1.0 + 0.9 * 2.0, 2.0))


def test_truncation_cuts_the_sum_but_keeps_the_value_of_the_final_observation():
    estimate = generalized_advantage_estimation(REWARDS, VALUES, NEXT_VALUES, NO, at(1), gamma=0.9, gae_lambda=1.0)
    torch.testing.assert_close(estimate.value_targets[1, 0], torch.tensor(2.0 + 0.9 * 30.0, dtype=torch.float64))


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        generalized_advantage_estimation(REWARDS, VALUES[:2], NEXT_VALUES, NO, NO, gamma=0.9, gae_lambda=1.0)
