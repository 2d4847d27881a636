"""The conjugate gradient method for symmetric positive-definite systems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    matvec: Callable[[Tensor], Tensor], b: Tensor, *, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    r"""Solve :math:`A x = b` for a symmetric positive-definite :math:`A` known only by its products ``matvec``.

    The search starts from 0; ``P`` steps are exact in exact arithmetic. Progress stops where the squared residual,
    relative to that of ``b``, is below the tolerance.

    Example:
        >>> matrix = torch.tensor([[4.0, 1.0], [1.0, 3.0]])
        >>> conjugate_gradient(lambda v: matrix @ v, torch.tensor([1.0, 2.0]), iterations=2)
        tensor([0.0909, 0.6364])

    References:
        Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.
    """
    x = torch.zeros_like(b)
    residual, direction = b.clone(), b.clone()
    squared = start = residual @ residual
    for _ in range(iterations):
        # A finished solution keeps still instead of leaving the loop: asking would stall a GPU at every step.
        running = squared > tolerance * start
        product = matvec(direction)
        curvature = direction @ product
        length = torch.where(running, squared / curvature, 0.0)
        x = x + length * direction
        residual = residual - length * product
        new_squared = residual @ residual
        direction = torch.where(running, residual + new_squared / squared * direction, direction)
        squared = torch.where(running, new_squared, squared)
    return x
