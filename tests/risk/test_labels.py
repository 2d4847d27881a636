"""Failure labels by hand, and the unknown masked."""

import pytest
import torch
from torch import Tensor

from rrl.risk.labels import (
    failure_labels_batch_quantile,
    failure_labels_below_return,
    failure_labels_within_horizon,
    trajectory_returns,
)


def _column(*values: bool) -> Tensor:
    return torch.tensor(values, dtype=torch.bool).unsqueeze(1)


def _bits(mask: Tensor) -> list[int]:
    return mask.flatten().int().tolist()


def test_horizon_labels_by_hand():
    terminated = _column(0, 0, 0, 1, 0, 0, 0)
    labels, known = failure_labels_within_horizon(terminated, torch.zeros_like(terminated), horizon_steps=2)
    assert _bits(labels) == [0, 0, 1, 1, 0, 0, 0]
    assert _bits(known) == [1, 1, 1, 1, 1, 1, 0]


def test_a_horizon_of_one_labels_exactly_the_last_state():
    terminated = _column(0, 0, 1)
    labels, known = failure_labels_within_horizon(terminated, torch.zeros_like(terminated), horizon_steps=1)
    assert _bits(labels) == [0, 0, 1]
    assert known.all()


def test_truncation_is_no_failure_and_masks_what_it_hides():
    truncated = _column(0, 0, 0, 1)
    labels, known = failure_labels_within_horizon(torch.zeros_like(truncated), truncated, horizon_steps=3)
    assert not labels.any()
    assert _bits(known) == [1, 1, 0, 0]


def test_a_failure_behind_a_truncation_belongs_to_the_next_episode():
    labels, known = failure_labels_within_horizon(_column(0, 0, 1), _column(0, 1, 0), horizon_steps=3)
    assert _bits(labels) == [0, 0, 1]
    assert _bits(known) == [0, 0, 1]


def test_a_step_that_is_both_counts_as_terminated():
    labels, known = failure_labels_within_horizon(_column(0, 1), _column(0, 1), horizon_steps=5)
    assert labels.all()
    assert known.all()


def test_horizon_labels_equal_a_search_state_by_state():
    generator = torch.Generator().manual_seed(0)
    terminated = torch.rand(40, 5, generator=generator) < 0.08
    truncated = torch.rand(40, 5, generator=generator) < 0.05
    labels, known = failure_labels_within_horizon(terminated, truncated, horizon_steps=6)
    for world in range(5):
        for step in range(40):
            fate = None
            for later in range(step, min(step + 6, 40)):
                if terminated[later, world]:
                    fate = True
                elif truncated[later, world] and later < step + 5:
                    fate = "unknown"
                elif later == step + 5:
                    fate = False
                if fate is not None:
                    break
            assert bool(known[step, world]) == (fate in {True, False})
            assert bool(labels[step, world]) == (fate is True)


@pytest.mark.parametrize("horizon_steps", [0, -1])
def test_a_horizon_without_steps_raises(horizon_steps: int):
    with pytest.raises(ValueError, match="`horizon_steps` must be at least 1"):
        failure_labels_within_horizon(_column(0), _column(0), horizon_steps)


def test_masks_of_other_types_or_shapes_raise():
    with pytest.raises(ValueError, match="`terminated` must be boolean"):
        failure_labels_within_horizon(torch.zeros(3, 1), _column(0, 0, 0), 1)
    with pytest.raises(ValueError, match="`truncated` must be boolean"):
        failure_labels_within_horizon(_column(0, 0), _column(0, 0, 0), 1)


def test_trajectory_returns_add_what_was_collected_before_the_rollout():
    rewards = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    returns, complete = trajectory_returns(rewards, _column(0, 1, 0, 0), _column(0, 0, 1, 0), torch.tensor([10.0]))
    assert returns.flatten().tolist() == [13.0, 13.0, 4.0, 8.0]
    assert _bits(complete) == [1, 1, 1, 0]


def test_return_labels_go_to_every_state_of_a_trajectory_and_open_ones_are_unknown():
    rewards = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    labels, known = failure_labels_below_return(
        rewards, _column(0, 1, 0, 0), _column(0, 0, 1, 0), 4.0, previous_returns=torch.zeros(1)
    )
    assert _bits(labels) == [1, 1, 0, 0]
    assert _bits(known) == [1, 1, 1, 0]


def test_without_a_threshold_nothing_is_known():
    ended = _column(1, 1)
    result = failure_labels_below_return(
        torch.zeros(2, 1), ended, ~ended, float("nan"), previous_returns=torch.zeros(1)
    )
    assert not result.known.any()
    assert not result.labels.any()


def test_batch_quantile_labels_the_worst_share_of_the_known_states():
    rewards = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    never = torch.zeros(200, 4, dtype=torch.bool)
    labels, known = failure_labels_batch_quantile(rewards, never, never, horizon_steps=5, fraction=0.2)
    windows = rewards.double().unfold(0, 5, 1).sum(-1)
    assert known.sum() == windows.numel()
    assert torch.equal(labels[:196], windows < windows.quantile(0.2))
    assert labels.sum().item() == pytest.approx(0.2 * windows.numel(), abs=1)


def test_batch_quantile_counts_an_early_termination_as_known():
    rewards = torch.ones(6, 1)
    labels, known = failure_labels_batch_quantile(
        rewards, _column(0, 0, 0, 1, 0, 0), _column(0, 0, 0, 0, 0, 0), horizon_steps=2, fraction=0.4
    )
    assert _bits(known) == [1, 1, 1, 1, 1, 0]
    assert _bits(labels) == [0, 0, 0, 1, 0, 0]


def test_a_batch_in_which_all_do_equally_well_has_no_failures():
    never = torch.zeros(9, 2, dtype=torch.bool)
    assert not failure_labels_batch_quantile(torch.ones(9, 2), never, never, horizon_steps=3, fraction=0.2).labels.any()
