"""How good a risk model is, on data that it has not seen.

Meant to be used *prequentially*: each rollout is scored with the model that gated it, before anything is fitted to it.
The calibration error on fitted data is zero by construction.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from rrl.risk.reliability import (
    EqualMassCalibrationError,
    EqualWidthCalibrationError,
    check_predictions,
    gathered,
)

LOWEST_PROBABILITY = 1e-6
"""The probability of what happened counts as at least this; one certain error would make the mean infinite."""


def brier_skill_score(brier: float, base_rate: float) -> float:
    r"""Compare a Brier score with that of always predicting the base rate.

    .. math::
        1 - \frac{\mathrm{BS}}{\bar y (1 - \bar y)}

    Args:
        brier: Brier score.
        base_rate: Share of failures among the same samples, in ``[0, 1]``.

    Returns:
        1 for perfect risks, 0 for risks as good as the base rate, negative for worse ones; not a number where one
        class is absent.

    Example:
        >>> brier_skill_score(0.125, base_rate=0.5)
        0.5
    """
    reference = base_rate * (1.0 - base_rate)
    return 1.0 - brier / reference if reference > 0.0 else float("nan")


class MeanScore(Metric):
    """The mean of one number a sample, in constant memory. Subclasses say which number."""

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take in predicted risks and what happened.

        Args:
            preds: Predicted risks, in ``[0, 1]``. Shape ``[M]``.
            target: True where the state led to a failure. Boolean, shape ``[M]``.

        Raises:
            ValueError: If the shapes or types do not fit or a risk is not in ``[0, 1]``.
        """
        check_predictions(preds, target)
        self.total += self.score(preds.double(), target.double()).sum()
        self.count += target.numel()

    def compute(self) -> Tensor:
        """Return the mean; not a number without samples."""
        return self.total / self.count

    def score(self, risk: Tensor, labels: Tensor) -> Tensor:
        """Score each sample: two tensors of shape ``[M]``, float64, to one."""
        raise NotImplementedError


class BrierScore(MeanScore):
    """The mean squared difference between risk and outcome: 0 is perfect, 0.25 is a constant one half.

    Example:
        >>> metric = BrierScore()
        >>> metric.update(torch.tensor([0.5, 1.0]), torch.tensor([False, True]))
        >>> metric.compute()
        tensor(0.1250, dtype=torch.float64)
    """

    higher_is_better = False

    def score(self, risk: Tensor, labels: Tensor) -> Tensor:
        """Square the difference."""
        return (risk - labels).square()


class NegativeLogLikelihood(MeanScore):
    """The mean negative logarithm of the probability given to what happened, in nats.

    Example:
        >>> metric = NegativeLogLikelihood()
        >>> metric.update(torch.tensor([0.5]), torch.tensor([True]))
        >>> metric.compute()
        tensor(0.6931, dtype=torch.float64)
    """

    higher_is_better = False

    def score(self, risk: Tensor, labels: Tensor) -> Tensor:
        """Take the logarithm of the probability of the outcome."""
        of_outcome = torch.where(labels > 0.5, risk, 1.0 - risk)
        return -of_outcome.clamp(min=LOWEST_PROBABILITY).log()


class BaseRate(MeanScore):
    """The share of failures, whatever was predicted."""

    def score(self, risk: Tensor, labels: Tensor) -> Tensor:
        """Return the outcome."""
        return labels


class TrajectoryCount(Metric):
    """The number of trajectories that the samples come from: the number of independent ones.

    One `update` must hold whole rollouts of this rank's own worlds, since numbers are compared within it only.

    Example:
        >>> metric = TrajectoryCount()
        >>> metric.update(torch.rand(3), torch.zeros(3, dtype=torch.bool), trajectory_ids=torch.tensor([4, 4, 9]))
        >>> metric.compute()
        tensor(2)
    """

    is_differentiable = False
    full_state_update = False
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, trajectory_ids: Tensor) -> None:
        """Count the distinct numbers in ``trajectory_ids``, long, shape ``[M]``."""
        self.count += torch.unique(trajectory_ids).numel()

    def compute(self) -> Tensor:
        """Return the number."""
        return self.count


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


def risk_metrics(num_bins: int = 10) -> MetricCollection:
    """Build the metrics that are logged as ``risk/*``.

    Feed them probabilities of states whose label is known, one rollout at a time, *before* the risk model is fitted to
    that rollout; compute, log, reset.

    Args:
        num_bins: Number of bins of the calibration errors, at least 1.

    Returns:
        Collection to be updated as ``metrics.update(risk, labels, trajectory_ids=ids)`` with risks ``[M]``, boolean
        labels ``[M]`` and long trajectory numbers ``[M]``.

    Example:
        >>> metrics = risk_metrics()
        >>> risk, ids = torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0, 0, 1])
        >>> metrics.update(risk, risk > 0.5, trajectory_ids=ids)
        >>> sorted(metrics.compute())[:3]
        ['risk/auroc', 'risk/average_precision', 'risk/base_rate']
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "brier": BrierScore(),
        "nll": NegativeLogLikelihood(),
        "ece": EqualWidthCalibrationError(num_bins),
        "ece_equal_mass": EqualMassCalibrationError(num_bins),
        "auroc": RiskAUROC(),
        "average_precision": RiskAveragePrecision(),
        "base_rate": BaseRate(),
        "num_trajectories": TrajectoryCount(),
    }
    # Grouping would share states between metrics that merely happen to hold equal numbers after the first update.
    return MetricCollection(metrics, prefix="risk/", compute_groups=False)


def _has_both_classes(target: list[Tensor] | Tensor) -> bool:
    labels = gathered(target)
    return bool((labels > 0).any() and (labels == 0).any())
