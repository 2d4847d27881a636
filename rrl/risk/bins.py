"""Bins over probabilities: one definition for the calibration map, the calibration errors and the reliability curve."""

from __future__ import annotations

import torch
from torch import Tensor


def equal_width_edges(num_bins: int) -> Tensor:
    """Divide the unit interval into bins of equal width.

    Args:
        num_bins: Number of bins ``K``, at least 1.

    Returns:
        Edges from 0 to 1. Shape ``[K + 1]``, float64.

    Raises:
        ValueError: If ``num_bins`` is smaller than 1.

    Example:
        >>> equal_width_edges(4)
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    """
    check_num_bins(num_bins)
    return torch.linspace(0.0, 1.0, num_bins + 1, dtype=torch.float64)


def equal_mass_edges(risk: Tensor, num_bins: int) -> Tensor:
    """Divide the unit interval into bins that hold the same number of samples.

    Risks bunch near zero where failures are rare; equal widths would leave most bins empty there. Where many samples
    share one value, edges coincide and the bins between them stay empty.

    Args:
        risk: Probabilities. Shape ``[M]``, ``M >= 1``.
        num_bins: Number of bins ``K``, at least 1.

    Returns:
        Edges: 0, then the inner quantiles of ``risk``, then 1. Shape ``[K + 1]``, float64.

    Raises:
        ValueError: If ``num_bins`` is smaller than 1.

    Example:
        >>> equal_mass_edges(torch.tensor([0.1, 0.2, 0.3, 0.4]), 2)
        tensor([0.0000, 0.2500, 1.0000], dtype=torch.float64)
    """
    edges = equal_width_edges(num_bins).to(risk.device)
    edges[1:-1] = risk.double().quantile(edges[1:-1])
    return edges


def bin_index(risk: Tensor, edges: Tensor) -> Tensor:
    """Find the bin of each probability; a bin holds its upper edge, the first one zero as well.

    Args:
        risk: Probabilities in ``[0, 1]``. Any shape.
        edges: Edges from 0 to 1 in ascending order. Shape ``[K + 1]``.

    Returns:
        Bin numbers from 0 to ``K - 1``. Long, shape of ``risk``.

    Example:
        >>> bin_index(torch.tensor([0.0, 0.5, 0.6, 1.0]), equal_width_edges(2))
        tensor([0, 0, 1, 1])
    """
    return torch.bucketize(risk.double(), edges[1:-1].contiguous())


def check_num_bins(num_bins: int) -> None:
    """Check a number of bins.

    Args:
        num_bins: Number of bins.

    Raises:
        ValueError: If it is smaller than 1.
    """
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be at least 1, got {num_bins}.")
