"""Reductions over the processes of a run; each is the identity where there is only one.

Lightning launches the processes, but the numbers that decide something (gradients, Fisher-vector products, divergences,
statistics) are reduced here and nowhere else. Every rank must call the same reductions in the same order, with tensors
of the same shape. Nothing is differentiated through them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import Parameter


def world_size() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Add a tensor over all ranks: a new tensor, or ``tensor`` itself on one process.

    Example:
        >>> all_reduce_sum(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    distributed.all_reduce(total)
    return total


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Average a tensor over all ranks: a new tensor, or ``tensor`` itself on one process."""
    size = world_size()
    return tensor if size == 1 else all_reduce_sum(tensor) / size


def average_gradients(parameters: Iterable[Parameter]) -> None:
    """Replace the gradient of every parameter that has one by its mean over all ranks, in one reduction."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = all_reduce_mean(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def gather_objects(item: Any) -> list[Any]:
    """Collect one picklable object from every rank, in rank order, on every rank.

    Example:
        >>> gather_objects("mine")
        ['mine']
    """
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    distributed.all_gather_object(items, item)
    return items
