"""Confidence intervals that resample trajectories: states of one trajectory are not independent samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Interval(NamedTuple):
    """A percentile interval."""

    low: Tensor
    """Lower end. Shape of the statistic."""
    high: Tensor
    """Upper end. Shape of the statistic."""


def bootstrap_by_trajectory(
    statistic: Callable[[Tensor, Tensor], Tensor],
    risk: Tensor,
    labels: Tensor,
    trajectory_ids: Tensor,
    *,
    generator: torch.Generator,
    num_resamples: int = 500,
    confidence: float = 0.95,
) -> Interval:
    """Estimate how far a statistic of risks and labels would vary with other trajectories.

    Whole trajectories are drawn with replacement. Resamples in which the statistic is undefined (one class only, an
    empty bin) are left out. With few trajectories the interval is too narrow, as every percentile bootstrap's is.

    Args:
        statistic: Maps risks ``[M']`` and labels ``[M']`` to a number, or to one number a bin.
        risk: Predicted risks. Shape ``[M]``, ``M >= 1``.
        labels: True where the state led to a failure. Boolean, shape ``[M]``.
        trajectory_ids: Trajectory of each state. Long, shape ``[M]``.
        generator: Source of the resamples, on the CPU.
        num_resamples: Number of resamples, at least 1.
        confidence: Share of the resamples inside the interval, in ``(0, 1)``.

    Returns:
        Lower and upper end; not a number where no resample defines the statistic.

    Raises:
        ValueError: If there are no samples, the shapes differ or an argument is outside its range.

    Example:
        >>> risk, labels, ids = torch.rand(40), torch.arange(40) % 4 == 0, torch.arange(40) // 4
        >>> interval = bootstrap_by_trajectory(
        ...     lambda _, labels: labels.double().mean(), risk, labels, ids, generator=torch.Generator()
        ... )
        >>> float(interval.low), float(interval.high)
        (0.25, 0.25)

    References:
        Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 13.3.
    """
    if risk.ndim != 1 or risk.numel() == 0 or labels.shape != risk.shape or trajectory_ids.shape != risk.shape:
        shapes = [list(tensor.shape) for tensor in (risk, labels, trajectory_ids)]
        raise ValueError(f"`risk`, `labels` and `trajectory_ids` must have one shape [M], M >= 1, got {shapes}.")
    if num_resamples < 1:
        raise ValueError(f"`num_resamples` must be at least 1, got {num_resamples}.")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"`confidence` must lie in (0, 1), got {confidence}.")
    members = _members(trajectory_ids)
    values = []
    for _ in range(num_resamples):
        drawn = torch.randint(len(members), (len(members),), generator=generator)
        samples = torch.cat([members[trajectory] for trajectory in drawn.tolist()])
        values.append(statistic(risk[samples], labels[samples]))
    tail = 0.5 * (1.0 - confidence)
    stacked = torch.stack(values)
    return Interval(stacked.nanquantile(tail, dim=0), stacked.nanquantile(1.0 - tail, dim=0))


def _members(trajectory_ids: Tensor) -> tuple[Tensor, ...]:
    """List the samples of each trajectory."""
    _, counts = torch.unique(trajectory_ids, return_counts=True)
    return torch.split(trajectory_ids.argsort(stable=True), counts.tolist())
