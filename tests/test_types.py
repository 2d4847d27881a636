"""The containers: what moves, what keeps its order, and how windows are cut."""

import dataclasses

import pytest
import torch

from rrl.types import AttackRecord, DynaBatch, EpisodeStatistics, Rollout, RolloutBatch, TensorBatch, WindowBatch


def rollout_batch(num_steps: int = 3, num_envs: int = 2) -> RolloutBatch:
    """Every entry tells its own step and environment: 10 * step + environment."""
    label = 10.0 * torch.arange(num_steps).unsqueeze(1) + torch.arange(num_envs)
    flag = torch.zeros(num_steps, num_envs, dtype=torch.bool)
    vector = label.unsqueeze(-1)
    return RolloutBatch(
        vector, vector, label, flag, flag.clone(), vector + 10.0, torch.ones_like(label), torch.ones_like(label)
    )


def rollout(*, attacked: bool) -> Rollout:
    episodes = EpisodeStatistics(*torch.ones(4, 1))
    table = torch.zeros(3, 2)
    attack = AttackRecord(table.unsqueeze(-1), table.bool(), table.bool(), table, table[0], table[:, 0])
    scalar, record = torch.zeros(()), attack if attacked else None
    return Rollout(rollout_batch(), episodes, torch.zeros(3, 2, 0), scalar, table.long(), record, width=scalar)


def window_batch() -> WindowBatch:
    table = torch.zeros(5, 4)
    return WindowBatch(table.unsqueeze(-1), table.unsqueeze(-1), table, table.bool(), table.bool())


def dyna_batch() -> DynaBatch:
    return DynaBatch(
        rollout(attacked=True), window_batch(), window_batch(), torch.zeros(2, 6, 1), torch.zeros(2, 12, 1)
    )


def leaves(record: TensorBatch, prefix: str = "") -> dict[str, torch.Tensor]:
    """Name every tensor of a record and of the records in it."""
    named = {}
    for field in dataclasses.fields(record):
        value, name = getattr(record, field.name), f"{prefix}{field.name}"
        named |= leaves(value, f"{name}.") if isinstance(value, TensorBatch) else {name: value}
    return named


@pytest.mark.parametrize(
    "record", [rollout(attacked=True), window_batch(), dyna_batch()], ids=lambda record: type(record).__name__
)
def test_to_moves_every_field_also_of_nested_records(record: TensorBatch):
    before, moved = leaves(record), record.to("meta")
    assert type(moved) is type(record)
    assert {name: (tensor.device.type, tensor.shape, tensor.dtype) for name, tensor in leaves(moved).items()} == {
        name: ("meta", tensor.shape, tensor.dtype) for name, tensor in before.items()
    }
    assert {tensor.device.type for tensor in before.values()} == {"cpu"}


def test_to_leaves_out_what_is_not_there():
    assert rollout(attacked=False).to("meta").attack is None


def test_ended_is_terminated_or_truncated():
    batch = rollout_batch()
    batch.terminated[0, 0] = True
    batch.truncated[1, 1] = True
    assert batch.ended.nonzero().tolist() == [[0, 0], [1, 1]]


def test_the_observation_behind_the_last_valid_transition_counts_as_observed():
    valid = torch.tensor([[True, True, False, False]])
    windows = WindowBatch(torch.zeros(1, 4, 1), torch.zeros(1, 4, 1), torch.zeros(1, 4), ~valid, valid)
    assert windows.observed.tolist() == [[True, True, True, False]]


def test_unbind_keeps_every_window_once_and_in_order():
    label = torch.arange(6.0).view(3, 2, 1).expand(3, 2, 4)
    flag = torch.ones(3, 2, 4, dtype=torch.bool)
    parts = WindowBatch(label[..., None], label[..., None], label, flag, flag).unbind()
    assert [part.rewards.shape for part in parts] == [(2, 4)] * 3
    assert torch.cat([part.rewards[:, 0] for part in parts]).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
