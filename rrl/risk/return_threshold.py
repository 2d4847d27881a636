"""The failure threshold of the paper's Algorithm 1: a percentile of recent returns."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class ReturnThreshold(nn.Module):
    """The return below which a trajectory counts as failed; not a number until enough returns have been seen.

    The paper sets the threshold once. As the policy improves it then loses all positives, and with them the
    adversary: ``rolling`` and ``batch`` follow the policy instead.

    Args:
        mode: ``"once"`` takes the percentile of the first ``window`` test returns and keeps it (the paper's);
            ``"rolling"`` takes it over the last ``window`` test returns; ``"batch"`` over the training returns handed
            to the latest `update`, whatever ``window`` is.
        percentile: Percentile omega, in ``(0, 100)``; ``20`` in the paper.
        window: Number of test returns ``M``, at least 1. The paper does not state it.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> threshold = ReturnThreshold("once", percentile=50, window=3)
        >>> threshold.update(torch.tensor([1.0, 2.0, 6.0]))
        >>> threshold.update(torch.tensor([100.0]))
        >>> float(threshold.threshold)
        2.0

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, Algorithm 1, lines 2 to 4. Their
        slice ``[k - M + 1 : k]`` is read as the last ``M`` returns available.
    """

    threshold: Tensor
    """Failure threshold, in units of return. Scalar, float64."""
    recent: Tensor
    """Last test returns, oldest first; not a number where there are fewer. Shape ``[M]``, float64."""

    def __init__(
        self, mode: Literal["once", "rolling", "batch"] = "batch", *, percentile: float = 20.0, window: int = 5
    ) -> None:
        super().__init__()
        if mode not in {"once", "rolling", "batch"}:
            raise ValueError(f"`mode` must be 'once', 'rolling' or 'batch', got {mode!r}.")
        if not 0.0 < percentile < 100.0:
            raise ValueError(f"`percentile` must lie in (0, 100), got {percentile}.")
        if window < 1:
            raise ValueError(f"`window` must be at least 1, got {window}.")
        self.mode = mode
        self.percentile = percentile
        self.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))
        self.register_buffer("recent", torch.full((window,), float("nan"), dtype=torch.float64))

    @torch.no_grad()
    def update(self, returns: Tensor) -> None:
        """Take in new returns and move the threshold as the mode says.

        Args:
            returns: Undiscounted returns, oldest first: of tests against the adversary (one mean a test), or in mode
                ``"batch"`` of the training trajectories. Shape ``[E]``; empty changes nothing.

        Raises:
            ValueError: If ``returns`` is not one-dimensional or not finite.
        """
        if returns.ndim != 1 or not returns.isfinite().all():
            raise ValueError(f"`returns` must be finite with shape [E], got {returns}.")
        if self.mode == "batch":
            if returns.numel() > 0:
                self.threshold.copy_(returns.to(self.threshold).quantile(self.percentile / 100.0))
            return
        for newest in returns.to(self.recent):
            self.recent.copy_(torch.cat([self.recent[1:], newest.view(1)]))
            if self.mode == "rolling" or self.threshold.isnan():
                # A window that is not full yet has a percentile that is not a number.
                self.threshold.copy_(self.recent.quantile(self.percentile / 100.0))
