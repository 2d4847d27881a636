"""The labelled states of the last iterations."""

from typing import Any

import pytest
import torch

from rrl.risk.buffer import LabelledStates


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"capacity": 0}, "`capacity` must be at least 1"), ({"max_iterations": 0}, "`max_iterations` must be")],
)
def test_bad_arguments_raise(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        LabelledStates((2,), **arguments)


def test_data_of_other_shapes_raise():
    states = LabelledStates((2,), capacity=5)
    with pytest.raises(ValueError, match=r"`observations` must have shape"):
        states.append(torch.zeros(1, 3), torch.tensor([True]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"`labels` and `trajectory_ids` must have shape \[1\]"):
        states.append(torch.zeros(1, 2), torch.tensor([True, False]), torch.tensor([0]))
