"""Calibration maps: from a raw risk logit to a probability that can be believed. The base, and histogram binning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from rrl.risk.bins import bin_index, check_num_bins, equal_mass_edges, equal_width_edges


class CalibrationMap(nn.Module, ABC):
    """A one-dimensional map from raw risk logits to calibrated risks.

    Before its first `fit`, and after `reset`, a map is the identity on probabilities: it returns ``sigmoid(logits)``.
    Its state lies in buffers of fixed size, so that a checkpoint loads into a new instance.
    """

    def fit(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Fit the map. Only data that the risk predictor has *not* been fitted to show how it is miscalibrated.

        Args:
            risk_logits: Raw logits of the risk predictor. Shape ``[M]``, ``M >= 1``.
            labels: True where the state led to a failure. Boolean, shape ``[M]``.

        Raises:
            ValueError: If there are no samples, the shapes differ, a logit is not finite or labels are not boolean.
        """
        if risk_logits.ndim != 1 or risk_logits.numel() == 0:
            raise ValueError(f"`risk_logits` must have shape [M] with M >= 1, got {list(risk_logits.shape)}.")
        if not risk_logits.isfinite().all():
            raise ValueError("`risk_logits` must be finite, got an infinite or undefined value.")
        if labels.dtype != torch.bool or labels.shape != risk_logits.shape:
            expected = list(risk_logits.shape)
            raise ValueError(
                f"`labels` must be boolean with shape {expected}, got {labels.dtype} {list(labels.shape)}."
            )
        self.fit_map(risk_logits.detach().double(), labels)

    @abstractmethod
    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Fit the map to checked logits ``[M]``, float64, and boolean labels ``[M]``."""

    @abstractmethod
    def reset(self) -> None:
        """Become the identity on probabilities."""


class IdentityCalibration(CalibrationMap):
    """No calibration: the risk is the sigmoid of the logit. The control that tells what calibration contributes.

    Example:
        >>> IdentityCalibration()(torch.tensor([0.0]))
        tensor([0.5000])
    """

    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Learn nothing."""

    def reset(self) -> None:
        """Stay the identity."""

    def forward(self, risk_logits: Tensor) -> Tensor:
        """Map logits of any shape to risks in ``[0, 1]``."""
        return risk_logits.sigmoid()


class HistogramBinning(CalibrationMap):
    r"""Replace a probability by the failure rate of its bin.

    .. math::
        \hat p_k = \frac{\sum_{i \in B_k} y_i + n_0 \bar p_k}{|B_k| + n_0}

    with the bin's mean raw probability :math:`\bar p_k` and :math:`n_0` pseudo-counts. ``shrinkage=0`` gives the
    paper's :math:`\hat p_k = \mathbb{E}[y \mid p_\mathrm{raw} \in B_k]`, which a bin of three samples does not
    support. An empty bin, undefined in the paper, is the identity.

    Args:
        num_bins: Number of bins ``K``, at least 1. The paper does not state it.
        binning: ``"equal_width"`` bins divide the unit interval, ``"equal_mass"`` bins the samples.
        shrinkage: Pseudo-counts :math:`n_0` at the bin's mean raw probability, at least 0; ``0`` in the paper.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> calibration = HistogramBinning(2, binning="equal_width", shrinkage=0.0)
        >>> calibration.fit(torch.tensor([-1.0, -1.0, -2.0, -2.0]), torch.tensor([True, False, False, False]))
        >>> calibration(torch.tensor([-3.0, 0.0, 3.0])).round(decimals=2)
        tensor([0.2500, 0.2500, 0.9500])

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

    def __init__(
        self,
        num_bins: int = 10,
        *,
        binning: Literal["equal_mass", "equal_width"] = "equal_mass",
        shrinkage: float = 20.0,
    ) -> None:
        super().__init__()
        check_num_bins(num_bins)
        if binning not in {"equal_mass", "equal_width"}:
            raise ValueError(f"`binning` must be 'equal_mass' or 'equal_width', got {binning!r}.")
        if not shrinkage >= 0.0:
            raise ValueError(f"`shrinkage` must be at least 0, got {shrinkage}.")
        self.num_bins = num_bins
        self.binning = binning
        self.shrinkage = shrinkage
        self.register_buffer("edges", equal_width_edges(num_bins))
        self.register_buffer("rates", torch.zeros(num_bins, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(num_bins, dtype=torch.float64))

    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Set edges, rates and counts from logits ``[M]`` and labels ``[M]``."""
        raw = risk_logits.sigmoid()
        if self.binning == "equal_mass":
            self.edges.copy_(equal_mass_edges(raw, self.num_bins))
        index = bin_index(raw, self.edges)
        self.counts.copy_(torch.bincount(index, minlength=self.num_bins))
        failures = torch.bincount(index, weights=labels.double(), minlength=self.num_bins)
        mean_raw = torch.bincount(index, weights=raw, minlength=self.num_bins) / self.counts.clamp(min=1.0)
        samples = (self.counts + self.shrinkage).clamp(min=1.0)
        self.rates.copy_((failures + self.shrinkage * mean_raw) / samples)

    def reset(self) -> None:
        """Empty every bin."""
        self.counts.zero_()
        self.rates.zero_()

    def forward(self, risk_logits: Tensor) -> Tensor:
        """Map logits of any shape to the rates of their bins."""
        # In float32 a probability could fall on the other side of an edge than it did in the fit.
        raw = risk_logits.double().sigmoid()
        index = bin_index(raw, self.edges)
        return torch.where(self.counts[index] > 0, self.rates[index], raw).to(risk_logits)
