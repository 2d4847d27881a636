"""Trajectory identifiers, the held-out split, and histories."""

import pytest
import torch
from torch import Tensor

from rrl.risk.trajectories import (
    TrajectoryNumbering,
    hold_out_newest,
    hold_out_trajectories,
    push_history,
    stack_history,
    trajectory_ids,
)


def _column(*values: bool) -> Tensor:
    return torch.tensor(values, dtype=torch.bool).unsqueeze(1)


def test_ids_change_after_either_kind_of_end_and_differ_between_worlds():
    terminated = torch.cat([_column(0, 1, 0, 0), _column(0, 0, 0, 0)], dim=1)
    truncated = torch.cat([_column(0, 0, 1, 0), _column(0, 0, 0, 0)], dim=1)
    ids = trajectory_ids(terminated, truncated)
    assert ids[:, 0].tolist() == [0, 0, 1, 2]
    assert ids[:, 1].unique().numel() == 1
    assert not set(ids[:, 0].tolist()) & set(ids[:, 1].tolist())


def test_ids_stay_distinct_where_every_step_ends_an_episode():
    ended = torch.ones(5, 3, dtype=torch.bool)
    assert trajectory_ids(ended, ended).unique().numel() == 15


def test_numbers_run_through_interrupted_episodes_and_are_never_used_twice():
    """Numbering a run in parts gives the same trajectories as numbering it in one."""
    generator = torch.Generator().manual_seed(0)
    terminated = torch.rand(30, 4, generator=generator) < 0.2
    truncated = torch.rand(30, 4, generator=generator) < 0.1
    numbering = TrajectoryNumbering(4)
    parts = [numbering(*part) for part in zip(terminated.split(7), truncated.split(7), strict=True)]
    pairs = torch.stack([torch.cat(parts).flatten(), trajectory_ids(terminated, truncated).flatten()])
    num_pairs = pairs.unique(dim=1).shape[1]
    assert num_pairs == pairs[0].unique().numel() == pairs[1].unique().numel()


def test_numbering_goes_on_after_a_checkpoint():
    ended = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)) < 0.3
    first, second = TrajectoryNumbering(3), TrajectoryNumbering(3)
    first(ended, ended)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(ended, ended), second(ended, ended))


def test_another_number_of_worlds_raises():
    with pytest.raises(ValueError, match=r"`terminated` must have shape \[T, 3\], got \[6, 2\]"):
        TrajectoryNumbering(3)(torch.zeros(6, 2, dtype=torch.bool), torch.zeros(6, 2, dtype=torch.bool))


def test_the_split_never_divides_a_trajectory():
    ids = torch.randint(20, (500,), generator=torch.Generator().manual_seed(0))
    held_out = hold_out_trajectories(ids, 0.3, generator=torch.Generator().manual_seed(1))
    assert not set(ids[held_out].tolist()) & set(ids[~held_out].tolist())
    assert ids[held_out].unique().numel() == 6


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.01, 1), (0.99, 2)])
def test_the_split_keeps_at_least_one_trajectory_on_either_side(fraction: float, expected: int):
    ids = torch.tensor([0, 0, 1, 5])
    held_out = hold_out_trajectories(ids, fraction, generator=torch.Generator())
    assert ids[held_out].unique().numel() == expected


def test_a_single_trajectory_cannot_be_split():
    assert not hold_out_trajectories(torch.zeros(9).long(), 0.5, generator=torch.Generator()).any()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_outside_its_range_raises(fraction: float):
    with pytest.raises(ValueError, match=r"`fraction` must lie in \[0, 1\)"):
        hold_out_trajectories(torch.arange(3), fraction, generator=torch.Generator())


def test_the_newest_rollout_is_held_out_with_the_beginnings_of_its_episodes():
    ids = torch.tensor([0, 0, 1, 1, 2, 2, 2, 1, 3, 3])
    newest = torch.arange(10) >= 7
    held_out = hold_out_newest(ids, newest, generator=torch.Generator())
    assert torch.equal(held_out, (ids == 1) | (ids == 3))


def test_half_of_the_episodes_stay_with_the_predictor_where_all_of_them_go_on():
    ids = torch.arange(8).repeat(5)
    held_out = hold_out_newest(ids, torch.arange(40) >= 32, generator=torch.Generator())
    assert ids[held_out].unique().numel() == 4
    assert not set(ids[held_out].tolist()) & set(ids[~held_out].tolist())


def test_a_history_never_reaches_into_the_episode_before():
    observations = torch.arange(5.0).view(5, 1, 1)
    stacked = stack_history(observations, _column(0, 1, 0, 0, 0), length=3).squeeze()
    assert stacked.tolist() == [[0, 0, 0], [0, 0, 1], [2, 2, 2], [2, 2, 3], [2, 3, 4]]


def test_pushing_step_by_step_gives_the_stacked_history():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(12, 3, 2, generator=generator)
    ended = torch.rand(12, 3, generator=generator) < 0.3
    history, starts = torch.zeros(3, 4, 2), torch.ones(3, dtype=torch.bool)
    for step, expected in enumerate(stack_history(observations, ended, length=4)):
        history = push_history(history, observations[step], starts)
        assert torch.equal(history, expected)
        starts = ended[step]


def test_a_history_without_length_raises():
    with pytest.raises(ValueError, match="`length` must be at least 1, got 0"):
        stack_history(torch.zeros(2, 1, 1), torch.zeros(2, 1, dtype=torch.bool), length=0)
