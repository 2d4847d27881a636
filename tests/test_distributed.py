"""Reductions over ranks: the identity on one process, exact over two."""

import os
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn

from rrl.distributed import all_reduce_mean, all_reduce_sum, average_gradients, gather_objects, world_size


def test_one_process_is_left_alone():
    tensor = torch.tensor([1.0, 2.0])
    assert world_size() == 1
    assert all_reduce_sum(tensor) is tensor
    assert all_reduce_mean(tensor) is tensor
    assert gather_objects("mine") == ["mine"]


def rank_main(rank: int, folder: str) -> None:
    """Reduce known numbers on two ranks and write what this rank saw."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    layer = nn.Linear(1, 1)
    layer.weight.grad, layer.bias.grad = torch.full((1, 1), float(rank)), torch.full((1,), 10.0 * rank)
    average_gradients(layer.parameters())
    seen = {
        "sum": float(all_reduce_sum(torch.tensor(1.0 + rank))),
        "mean": float(all_reduce_mean(torch.tensor(1.0 + rank))),
        "gradients": [float(layer.weight.grad), float(layer.bias.grad)],
        "objects": gather_objects(rank),
    }
    torch.save(seen, os.path.join(folder, f"{rank}.pt"))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_see_the_same_reductions(tmp_path: Path):
    multiprocessing.spawn(rank_main, args=(str(tmp_path),), nprocs=2)
    expected = {"sum": 3.0, "mean": 1.5, "gradients": [0.5, 5.0], "objects": [0, 1]}
    assert torch.load(tmp_path / "0.pt") == expected
    assert torch.load(tmp_path / "1.pt") == expected
