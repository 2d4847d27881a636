"""How good a risk model is, on data that it has not seen.

Meant to be used *prequentially*: each rollout is scored with the model that gated it, before anything is fitted to it.
The calibration error on fitted data is zero by construction.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import MeanMetric, MeanSquaredError, Metric, MetricCollection, SumMetric
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision, BinaryCalibrationError

from rrl.checks import require_at_least
from rrl.risk.calibration import equal_mass_edges, equal_width_edges
from rrl.risk.reliability import expected_calibration_error, reliability_curve

LOWEST_PROBABILITY = 1e-6
"""The probability of what happened counts as at least this; one certain error would make the mean infinite."""


def brier_skill_score(brier: float, base_rate: float) -> float:
    r"""Compare a Brier score with that of always predicting the base rate.

    .. math::
        1 - \frac{\mathrm{BS}}{\bar y (1 - \bar y)}

    Returns:
        1 for perfect risks, 0 for risks as good as the base rate of the same samples, negative for worse ones; not a
        number where one class is absent.

    Example:
        >>> brier_skill_score(0.125, base_rate=0.5)
        0.5
    """
    reference = base_rate * (1.0 - base_rate)
    return 1.0 - brier / reference if reference > 0.0 else float("nan")


class BrierScore(MeanSquaredError):  # noqa: N818  (no exception)
    """The mean squared difference between risk and outcome: 0 is perfect, 0.25 is a constant one half."""

    def __init__(self) -> None:
        super().__init__()
        self.set_dtype(torch.float64)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take in risks ``[M]`` and boolean labels ``[M]``."""
        check_predictions(preds, target)
        super().update(preds.double(), target.double())


class BaseRate(MeanMetric):
    """The share of failures, whatever was predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.set_dtype(torch.float64)

    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Take in risks ``[M]`` and boolean labels ``[M]``."""
        super().update(target.double())


class NegativeLogLikelihood(Metric):
    """The mean negative logarithm of the probability given to what happened, in nats."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Not a `MeanMetric`: moved to a device, that one rounds what it is given to float32.
        for name in ("total", "count"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take in risks ``[M]`` and boolean labels ``[M]``."""
        check_predictions(preds, target)
        risk = preds.double()
        self.total -= torch.where(target, risk, 1.0 - risk).clamp(min=LOWEST_PROBABILITY).log().sum()
        self.count += target.numel()

    def compute(self) -> Tensor:
        """Return the mean; not a number without samples."""
        return self.total / self.count


class CalibrationError(BinaryCalibrationError):
    """The expected calibration error over bins of equal width, or over bins that hold equally many samples.

    Its bins are those of the calibration map and of the diagrams: unlike in torchmetrics' own, a risk on an edge, where
    isotonic regression puts many, belongs to the bin below.
    """

    def __init__(self, num_bins: int, *, equal_mass: bool) -> None:
        require_at_least(1, num_bins=num_bins)
        super().__init__(n_bins=num_bins, validate_args=False)
        self.equal_mass = equal_mass

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take in risks ``[M]`` and boolean labels ``[M]``."""
        check_predictions(preds, target)
        super().update(preds.double(), target.long())

    def compute(self) -> Tensor:
        """Return the error, in ``[0, 1]``; not a number without samples."""
        risk, labels = gathered(self.confidences), gathered(self.accuracies)
        if risk.numel() == 0:
            return torch.tensor(float("nan"), dtype=torch.float64)
        edges = (
            equal_mass_edges(risk, self.n_bins) if self.equal_mass else equal_width_edges(self.n_bins).to(risk.device)
        )
        return expected_calibration_error(reliability_curve(risk, labels, edges))


class TrajectoryCount(SumMetric):
    """The number of trajectories that the samples come from: the number of independent ones.

    One `update` must hold whole rollouts of this rank's own worlds, since numbers are compared within it only.
    """

    def update(self, preds: Tensor, target: Tensor, trajectory_ids: Tensor) -> None:  # type: ignore[override]
        """Count the distinct numbers in ``trajectory_ids``, long, shape ``[M]``."""
        super().update(float(torch.unique(trajectory_ids).numel()))


class RiskAUROC(BinaryAUROC):
    """Area under the receiver operating characteristic; not a number, rather than 0, where one class is absent."""

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the area, in ``[0, 1]``."""
        return super().compute() if _has_both_classes(self.target) else torch.tensor(float("nan"))


class RiskAveragePrecision(BinaryAveragePrecision):
    """Area under the precision-recall curve; not a number where one class is absent."""

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the area, in ``[0, 1]``."""
        return super().compute() if _has_both_classes(self.target) else torch.tensor(float("nan"))


def risk_metrics(num_bins: int) -> MetricCollection:
    """Build the metrics that are logged as ``risk/*``.

    Feed them probabilities of states whose label is known, one rollout at a time, *before* the risk model is fitted to
    that rollout; compute, log, reset.

    Returns:
        Collection to be updated as ``metrics.update(risk, labels, trajectory_ids=ids)`` with risks ``[M]``, boolean
        labels ``[M]`` and long trajectory numbers ``[M]``.

    Example:
        >>> metrics = risk_metrics(num_bins=10)
        >>> risk, ids = torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0, 0, 1])
        >>> metrics.update(risk, risk > 0.5, trajectory_ids=ids)
        >>> sorted(metrics.compute())[:3]
        ['risk/auroc', 'risk/average_precision', 'risk/base_rate']
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "brier": BrierScore(),
        "nll": NegativeLogLikelihood(),
        "ece": CalibrationError(num_bins, equal_mass=False),
        "ece_equal_mass": CalibrationError(num_bins, equal_mass=True),
        "auroc": RiskAUROC(),
        "average_precision": RiskAveragePrecision(),
        "base_rate": BaseRate(),
        "num_trajectories": TrajectoryCount(),
    }
    # Grouping would share states between metrics that merely happen to hold equal numbers after the first update.
    return MetricCollection(metrics, prefix="risk/", compute_groups=False)


def check_predictions(risk: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless these are risks ``[M]`` in ``[0, 1]`` and boolean labels ``[M]``."""
    if risk.ndim != 1 or labels.shape != risk.shape or labels.dtype != torch.bool:
        got = f"{list(risk.shape)} and {labels.dtype} {list(labels.shape)}"
        raise ValueError(f"`preds` and boolean `target` must have one shape [M], got {got}.")
    if not ((risk >= 0.0) & (risk <= 1.0)).all():
        raise ValueError("`preds` must lie in [0, 1], got a value outside or not a number.")


def gathered(state: list[Tensor] | Tensor) -> Tensor:
    """Concatenate a list state of a metric; after a reduction over ranks it is one tensor ``[M]`` already."""
    if isinstance(state, Tensor):
        return state
    return torch.cat(state) if state else torch.empty(0)


def _has_both_classes(target: list[Tensor] | Tensor) -> bool:
    labels = gathered(target)
    return bool((labels > 0).any() and (labels == 0).any())
