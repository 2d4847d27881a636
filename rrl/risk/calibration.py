"""Calibration maps: from a raw risk logit to a probability that can be believed. Parametric ones: `scaling`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least, require_not_negative, require_one_of, require_tensor


class CalibrationMap(nn.Module, ABC):
    """A one-dimensional map from raw risk logits to calibrated risks; ``forward`` keeps shape and type of the logits.

    Before its first `fit`, and after `reset`, a map is the identity on probabilities: it returns ``sigmoid(logits)``.
    Its state lies in buffers of fixed size, so that a checkpoint loads into a new instance; the constructor takes what
    they hold in the identity.
    """

    needs_both_classes = False
    """True where data of one class leave the map the identity."""

    def __init__(self, **identity: Tensor) -> None:
        super().__init__()
        self._identity = identity
        for name, value in identity.items():
            self.register_buffer(name, value.clone())

    def fit(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Fit the map to logits ``[M]``, ``M >= 1``, of data that the predictor has *not* seen, and boolean labels."""
        if risk_logits.ndim != 1 or risk_logits.numel() == 0:
            raise ValueError(f"`risk_logits` must have shape [M] with M >= 1, got {list(risk_logits.shape)}.")
        if not risk_logits.isfinite().all():
            raise ValueError("`risk_logits` must be finite, got an infinite or undefined value.")
        require_tensor("bool", risk_logits.shape, labels=labels)
        if self.needs_both_classes and (labels.all() or not labels.any()):
            self.reset()
        else:
            self.fit_map(risk_logits.detach().double(), labels)

    @abstractmethod
    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Fit the map to checked logits, float64, and labels."""

    def reset(self) -> None:
        """Become the identity on probabilities."""
        for name, value in self._identity.items():
            self.get_buffer(name).copy_(value)


class IdentityCalibration(CalibrationMap):
    """No calibration: the sigmoid of the logit. The control that tells what calibration contributes."""

    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Learn nothing."""

    def forward(self, risk_logits: Tensor) -> Tensor:
        """Map logits to risks."""
        return risk_logits.sigmoid()


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """The failure rate of the bin; see `HistogramBinning`. The paper's: ``equal_width``, ``shrinkage=0``."""

    num_bins: int = 20
    """Number of bins ``K``. The paper does not state it."""
    binning: Literal["equal_mass", "equal_width"] = "equal_mass"
    """``equal_width`` bins divide the unit interval, ``equal_mass`` bins the samples."""
    shrinkage: float = 20.0
    """Pseudo-counts ``n_0`` at the bin's mean raw probability, at least 0; ``0`` in the paper."""

    def __post_init__(self) -> None:
        require_at_least(1, num_bins=self.num_bins)
        require_one_of(("equal_mass", "equal_width"), binning=self.binning)
        require_not_negative(shrinkage=self.shrinkage)


class HistogramBinning(CalibrationMap):
    r"""Replace a probability by the failure rate of its bin.

    .. math::
        \hat p_k = \frac{\sum_{i \in B_k} y_i + n_0 \bar p_k}{|B_k| + n_0}

    with the bin's mean raw probability :math:`\bar p_k`. The paper's failure rate alone, :math:`n_0 = 0`, is more than
    a bin of three samples supports. An empty bin, undefined in the paper, is the identity.

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, Algorithm 2. Zadrozny and Elkan,
        "Obtaining calibrated probability estimates from decision trees and naive Bayesian classifiers", ICML 2001.
    """

    edges: Tensor
    """Edges of the bins, from 0 to 1. Shape ``[K + 1]``, float64."""
    rates: Tensor
    """Calibrated risk of each bin, shrunk; 0 where the bin is empty. Shape ``[K]``, float64."""
    counts: Tensor
    """Samples in each bin at the last fit. Shape ``[K]``, float64."""

    def __init__(self, settings: Histogram) -> None:
        empty = torch.zeros(settings.num_bins, dtype=torch.float64)
        super().__init__(edges=equal_width_edges(settings.num_bins), rates=empty, counts=empty)
        self.settings = settings

    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Set edges, rates and counts."""
        raw, num_bins, shrinkage = risk_logits.sigmoid(), self.settings.num_bins, self.settings.shrinkage
        if self.settings.binning == "equal_mass":
            self.edges.copy_(equal_mass_edges(raw, num_bins))
        index = bin_index(raw, self.edges)
        self.counts.copy_(torch.bincount(index, minlength=num_bins))
        failures = torch.bincount(index, weights=labels.double(), minlength=num_bins)
        mean_raw = torch.bincount(index, weights=raw, minlength=num_bins) / self.counts.clamp(min=1.0)
        self.rates.copy_((failures + shrinkage * mean_raw) / (self.counts + shrinkage).clamp(min=1.0))

    def forward(self, risk_logits: Tensor) -> Tensor:
        """Map logits to the rates of their bins."""
        # In float32 a probability could fall on the other side of an edge than it did in the fit.
        raw = risk_logits.double().sigmoid()
        index = bin_index(raw, self.edges)
        return torch.where(self.counts[index] > 0, self.rates[index], raw).to(risk_logits)


class IsotonicCalibration(CalibrationMap):
    """The non-decreasing map of the raw probability with the smallest squared error, linear between its knots.

    Where the pooled blocks have more knots than fit, evenly chosen ones are kept: still non-decreasing, no longer
    exactly optimal. One class alone would make every risk exactly 0 or 1; the map then is the identity.

    References:
        Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """

    needs_both_classes = True
    knots: Tensor
    """Raw probabilities, ascending; the last one is repeated to the end. Shape ``[max_knots]``, float64."""
    values: Tensor
    """Calibrated risks at the knots, ascending. Shape ``[max_knots]``, float64."""

    def __init__(self, max_knots: int = 1024) -> None:
        require_at_least(2, max_knots=max_knots)
        diagonal = torch.linspace(0.0, 1.0, max_knots, dtype=torch.float64)
        super().__init__(knots=diagonal, values=diagonal)

    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Set the knots to the ends of the pooled blocks."""
        from scipy.optimize import isotonic_regression  # takes a second to import

        raw, position, counts = torch.unique(risk_logits.sigmoid(), return_inverse=True, return_counts=True)
        rates = torch.zeros_like(raw).index_add_(0, position, labels.to(raw)) / counts
        pooled = isotonic_regression(rates.cpu().numpy(), weights=counts.cpu().numpy())
        # Inside a block the map is flat: only its first and last point are needed.
        starts = torch.from_numpy(pooled.blocks).to(raw.device)
        kept = torch.cat([starts[:-1], starts[1:] - 1]).unique()
        choice = torch.linspace(0, kept.numel() - 1, self.knots.numel(), dtype=torch.float64).round().long()
        if kept.numel() <= self.knots.numel():
            choice = torch.arange(self.knots.numel()).clamp(max=kept.numel() - 1)
        kept = kept[choice.to(kept.device)]
        self.knots.copy_(raw[kept])
        self.values.copy_(torch.from_numpy(pooled.x).to(raw.device)[kept])

    def forward(self, risk_logits: Tensor) -> Tensor:
        """Map logits to risks; beyond the outermost knots the map is flat."""
        raw = risk_logits.double().sigmoid().clamp(self.knots[0], self.knots[-1])
        upper = torch.searchsorted(self.knots, raw).clamp(min=1)
        left, right = self.knots[upper - 1], self.knots[upper]
        # Repeated knots enclose an interval of no width.
        share = ((raw - left) / (right - left).clamp(min=torch.finfo(torch.float64).tiny)).clamp(0.0, 1.0)
        return torch.lerp(self.values[upper - 1], self.values[upper], share).to(risk_logits)


def equal_width_edges(num_bins: int) -> Tensor:
    """Divide the unit interval into ``K`` bins of equal width: edges from 0 to 1, shape ``[K + 1]``, float64.

    Example:
        >>> equal_width_edges(4)
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    """
    require_at_least(1, num_bins=num_bins)
    return torch.linspace(0.0, 1.0, num_bins + 1, dtype=torch.float64)


def equal_mass_edges(risk: Tensor, num_bins: int) -> Tensor:
    """Divide the unit interval into bins that hold the same number of the samples ``risk``, shape ``[M]``, ``M >= 1``.

    Risks bunch near zero where failures are rare; equal widths would leave most bins empty there. Where many samples
    share one value, edges coincide and the bins between them stay empty.

    Example:
        >>> equal_mass_edges(torch.tensor([0.1, 0.2, 0.3, 0.4]), 2)
        tensor([0.0000, 0.2500, 1.0000], dtype=torch.float64)
    """
    edges = equal_width_edges(num_bins).to(risk.device)
    edges[1:-1] = risk.double().quantile(edges[1:-1])
    return edges


def bin_index(risk: Tensor, edges: Tensor) -> Tensor:
    """Find the bin, from 0 to ``K - 1``, of each probability; a bin holds its upper edge, the first one zero as well.

    Example:
        >>> bin_index(torch.tensor([0.0, 0.5, 0.6, 1.0]), equal_width_edges(2))
        tensor([0, 0, 1, 1])
    """
    return torch.bucketize(risk.double(), edges[1:-1].contiguous())
