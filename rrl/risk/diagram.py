"""What a reliability diagram shows: curves of several risks of the same states, with bands over trajectories."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rrl.risk.bins import equal_mass_edges
from rrl.risk.bootstrap import Interval, bootstrap_by_trajectory
from rrl.risk.reliability import Reliability, reliability_curve


class ScoredStates(NamedTuple):
    """Risks of states together with what happened."""

    risk: Tensor
    """Predicted risks. Shape ``[M]``."""
    labels: Tensor
    """True where the state led to a failure. Boolean, shape ``[M]``."""
    trajectory_ids: Tensor
    """Trajectory of each state. Long, shape ``[M]``."""


class ReliabilityBand(NamedTuple):
    """A reliability curve and how far other trajectories could have moved it."""

    curve: Reliability
    """The curve, one point a bin."""
    band: Interval
    """Ends of the interval of the failure rate of each bin. Shapes ``[K]``."""


def reliability_band(
    states: ScoredStates, *, num_bins: int, generator: torch.Generator, num_resamples: int = 200
) -> ReliabilityBand:
    """Compute a reliability curve over bins of equal mass with a bootstrap band.

    Args:
        states: Risks and labels, at least one.
        num_bins: Number of bins, ``K``.
        generator: Source of the resamples, on the CPU.
        num_resamples: Number of resamples.

    Returns:
        The curve and its 95 % band.

    Example:
        >>> states = ScoredStates(torch.linspace(0, 1, 40), torch.arange(40) >= 20, torch.arange(40) // 4)
        >>> reliability_band(states, num_bins=2, generator=torch.Generator()).curve.failure_rate
        tensor([0., 1.], dtype=torch.float64)
    """
    edges = equal_mass_edges(states.risk, num_bins)

    def failure_rates(risk: Tensor, labels: Tensor) -> Tensor:
        return reliability_curve(risk, labels, edges).failure_rate

    band = bootstrap_by_trajectory(failure_rates, *states, generator=generator, num_resamples=num_resamples)
    return ReliabilityBand(reliability_curve(states.risk, states.labels, edges), band)
