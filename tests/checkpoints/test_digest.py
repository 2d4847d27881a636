"""The fingerprint of a checkpoint sees every bit, type and order, and nothing else."""

from __future__ import annotations

import pytest
import torch

from rrl.checkpoints.digest import digest

CONTENT = {"a": torch.tensor([1.0, float("nan")]), "b": [1, (2.0, None)], "c": {"d": torch.tensor([True])}}


@pytest.mark.parametrize(
    "change",
    [
        {"a": torch.tensor([1.0, 0.0])},
        {"a": torch.tensor([1.0, float("nan")], dtype=torch.float64)},
        {"b": [1, [2.0, None]]},
        {"b": [True, (2.0, None)]},
        {"c": {}},
        {"e": None},
    ],
)
def test_every_change_is_seen(change):
    assert digest(CONTENT | change) != digest(CONTENT)


def test_layout_in_memory_is_no_change(tmp_path):
    tensors = {
        "one": torch.tensor([2.0], dtype=torch.float64).as_strided((1,), (0,)),
        "scalar": torch.zeros(()),
        "none": torch.zeros(0, 3),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    torch.save(tensors, tmp_path / "file")
    copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    assert digest(torch.load(tmp_path / "file", weights_only=True)) == digest(tensors) == digest(copies)
