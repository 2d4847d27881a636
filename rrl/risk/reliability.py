"""Reliability: how often a risk that is predicted comes true, bin by bin, and the calibration error that follows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from rrl.risk.bins import bin_index, equal_mass_edges, equal_width_edges


class Reliability(NamedTuple):
    """A reliability curve: one point a bin."""

    counts: Tensor
    """Samples in each bin. Shape ``[K]``, float64."""
    mean_risk: Tensor
    """Mean predicted risk in each bin; not a number where it is empty. Shape ``[K]``, float64."""
    failure_rate: Tensor
    """Share of failures in each bin; not a number where it is empty. Shape ``[K]``, float64."""


def reliability_curve(risk: Tensor, labels: Tensor, edges: Tensor) -> Reliability:
    """Compare predicted risks with failure rates.

    Args:
        risk: Predicted risks, in ``[0, 1]``. Shape ``[M]``.
        labels: True where the state led to a failure. Boolean, shape ``[M]``.
        edges: Edges of the bins, from 0 to 1. Shape ``[K + 1]``, see `rrl.risk.bins`.

    Returns:
        The curve.

    Example:
        >>> curve = reliability_curve(torch.tensor([0.2, 0.4]), torch.tensor([False, True]), equal_width_edges(2))
        >>> curve.failure_rate
        tensor([0.5000,    nan], dtype=torch.float64)
    """
    counts, risk_sums, failures = _bin_sums(risk, labels, edges)
    return Reliability(counts, risk_sums / counts, failures / counts)


def expected_calibration_error(curve: Reliability) -> Tensor:
    r"""Average the distance between predicted risk and failure rate over the samples.

    .. math::
        \mathrm{ECE} = \sum_k \frac{|B_k|}{M} \left| \bar r_k - \bar y_k \right|

    Args:
        curve: Reliability curve.

    Returns:
        Error in ``[0, 1]``, a probability; not a number without samples. Scalar, float64.

    Example:
        >>> curve = reliability_curve(torch.tensor([0.2, 0.4]), torch.tensor([False, True]), equal_width_edges(1))
        >>> expected_calibration_error(curve).round(decimals=3)
        tensor(0.2000, dtype=torch.float64)

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, eq. 3.
    """
    gaps = (curve.mean_risk - curve.failure_rate).abs().nan_to_num(0.0)
    return (curve.counts * gaps).sum() / curve.counts.sum()


class ReliabilityCurve(Metric):
    """The reliability curve of everything seen since the last reset, in constant memory and exact over ranks.

    Args:
        num_bins: Number of bins of equal width ``K``, at least 1.

    Raises:
        ValueError: If ``num_bins`` is smaller than 1.

    Example:
        >>> metric = ReliabilityCurve(num_bins=2)
        >>> metric.update(torch.tensor([0.2, 0.4]), torch.tensor([False, True]))
        >>> metric.compute().mean_risk.round(decimals=2)
        tensor([0.3000,    nan], dtype=torch.float64)
    """

    is_differentiable = False
    full_state_update = False
    edges: Tensor
    counts: Tensor
    risk_sums: Tensor
    failures: Tensor

    def __init__(self, num_bins: int = 10) -> None:
        super().__init__()
        self.register_buffer("edges", equal_width_edges(num_bins))
        for name in ("counts", "risk_sums", "failures"):
            self.add_state(name, torch.zeros(num_bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take in predicted risks and what happened.

        Args:
            preds: Predicted risks, in ``[0, 1]``. Shape ``[M]``.
            target: True where the state led to a failure. Boolean, shape ``[M]``.

        Raises:
            ValueError: If the shapes or types do not fit or a risk is not in ``[0, 1]``.
        """
        check_predictions(preds, target)
        counts, risk_sums, failures = _bin_sums(preds, target, self.edges)
        self.counts += counts
        self.risk_sums += risk_sums
        self.failures += failures

    def compute(self) -> Reliability:
        """Return the curve."""
        return Reliability(self.counts, self.risk_sums / self.counts, self.failures / self.counts)


class EqualWidthCalibrationError(ReliabilityCurve):
    """The expected calibration error over bins of equal width, in constant memory.

    Args:
        num_bins: Number of bins, at least 1.

    Raises:
        ValueError: If ``num_bins`` is smaller than 1.
    """

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the error, in ``[0, 1]``."""
        return expected_calibration_error(super().compute())


class EqualMassCalibrationError(Metric):
    """The expected calibration error over bins that hold equally many samples.

    Its bins depend on all samples, so it keeps them until the reset: meant for one rollout at a time.

    Args:
        num_bins: Number of bins, at least 1.

    Raises:
        ValueError: If ``num_bins`` is smaller than 1.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    preds: list[Tensor]
    target: list[Tensor]

    def __init__(self, num_bins: int = 10) -> None:
        super().__init__()
        equal_width_edges(num_bins)
        self.num_bins = num_bins
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take in predicted risks and what happened.

        Args:
            preds: Predicted risks, in ``[0, 1]``. Shape ``[M]``.
            target: True where the state led to a failure. Boolean, shape ``[M]``.

        Raises:
            ValueError: If the shapes or types do not fit or a risk is not in ``[0, 1]``.
        """
        check_predictions(preds, target)
        self.preds.append(preds)
        self.target.append(target)

    def compute(self) -> Tensor:
        """Return the error, in ``[0, 1]``; not a number without samples."""
        risk, labels = gathered(self.preds), gathered(self.target)
        if risk.numel() == 0:
            return torch.tensor(float("nan"), dtype=torch.float64)
        return expected_calibration_error(reliability_curve(risk, labels, equal_mass_edges(risk, self.num_bins)))


def gathered(state: list[Tensor] | Tensor) -> Tensor:
    """Concatenate a list state of a metric; after a reduction over ranks it is one tensor already.

    Args:
        state: Tensors of shape ``[M]`` each, or one tensor.

    Returns:
        One tensor of shape ``[M]``; empty where there are none.
    """
    if isinstance(state, Tensor):
        return state
    return torch.cat(state) if state else torch.empty(0)


def check_predictions(risk: Tensor, labels: Tensor) -> None:
    """Check what a metric is given.

    Args:
        risk: Predicted risks.
        labels: What happened.

    Raises:
        ValueError: If they are not one-dimensional of one length, the labels are not boolean or a risk is not in
            ``[0, 1]``.
    """
    if risk.ndim != 1 or labels.shape != risk.shape or labels.dtype != torch.bool:
        got = f"{list(risk.shape)} and {labels.dtype} {list(labels.shape)}"
        raise ValueError(f"`preds` and boolean `target` must have one shape [M], got {got}.")
    if not ((risk >= 0.0) & (risk <= 1.0)).all():
        raise ValueError("`preds` must lie in [0, 1], got a value outside or not a number.")


def _bin_sums(risk: Tensor, labels: Tensor, edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum samples, risks and failures in each bin."""
    num_bins = edges.numel() - 1
    index = bin_index(risk, edges)
    counts = torch.bincount(index, minlength=num_bins).double()
    risk_sums = torch.bincount(index, weights=risk.double(), minlength=num_bins)
    return counts, risk_sums, torch.bincount(index, weights=labels.double(), minlength=num_bins)
