"""The labelled states of the last iterations, trajectory identifiers, the held-out split, and histories."""

import pytest
import torch
from torch import Tensor

from rrl.risk.dataset import (
    LabelledStates,
    hold_out_newest,
    hold_out_trajectories,
    push_history,
    stack_history,
    trajectory_ids,
)


def _append(states: LabelledStates, value: float, num_states: int) -> None:
    ids = torch.arange(num_states) % 2
    states.append(torch.full((num_states, 2), value), ids == 0, ids)


def test_iterations_come_out_in_order_and_the_old_are_forgotten():
    states = LabelledStates((2,), capacity=100, max_iterations=2)
    for value, num_states in ((1.0, 5), (2.0, 3), (3.0, 4)):
        _append(states, value, num_states)
    assert states.observations[:, 0].tolist() == [2.0] * 3 + [3.0] * 4
    assert states.labels.tolist() == [True, False, True, True, False, True, False]


def test_the_oldest_states_give_way_at_the_capacity():
    states = LabelledStates((2,), capacity=6, max_iterations=None)
    for value, num_states in ((1.0, 5), (2.0, 3)):
        _append(states, value, num_states)
    assert states.observations[:, 0].tolist() == [1.0] * 3 + [2.0] * 3
    _append(states, 3.0, 50)
    assert states.observations[:, 0].tolist() == [3.0] * 6


def test_an_iteration_without_known_labels_ages_the_others():
    states = LabelledStates((2,), capacity=10, max_iterations=2)
    _append(states, 1.0, 3)
    for _ in range(2):
        _append(states, 0.0, 0)
    assert states.labels.numel() == 0


def test_a_restored_data_set_goes_on_as_the_first_one():
    first, second = (LabelledStates((2,), capacity=7, max_iterations=3) for _ in range(2))
    _append(first, 1.0, 4)
    second.load_state_dict(first.state_dict())
    for states in (first, second):
        _append(states, 2.0, 5)
    assert torch.equal(first.observations, second.observations)
    assert torch.equal(first.trajectory_ids, second.trajectory_ids)


def test_data_of_other_shapes_raise():
    states = LabelledStates((2,), capacity=5, max_iterations=None)
    with pytest.raises(ValueError, match=r"`observations` must have shape"):
        states.append(torch.zeros(1, 3), torch.tensor([True]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"`labels` and `trajectory_ids` must have shape \[1\]"):
        states.append(torch.zeros(1, 2), torch.tensor([True, False]), torch.tensor([0]))


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
