"""How good a risk model is, on data that it has not seen.

Meant to be used *prequentially*: each rollout is scored with the model that gated it, before anything is fitted to it.
The calibration error on fitted data is zero by construction.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from rrl.risk.calibration import equal_mass_edges, equal_width_edges
from rrl.risk.reliability import expected_calibration_error, reliability_curve

LOWEST_PROBABILITY = 1e-6
"""The probability of what happened counts as at least this; one certain error would make the mean infinite."""


def brier_skill_score(brier: float, base_rate: float) -> float:
    r"""Compare a Brier score with that of always predicting the base rate.

    .. math::
        1 - \frac{\mathrm{BS}}{\bar y (1 - \bar y)}

    It is 1 for perfect risks, 0 for risks as good as the base rate of the same samples, negative for worse ones; not a
    number where one class is absent.

    Example:
        >>> brier_skill_score(0.125, base_rate=0.5)
        0.5
    """
    reference = base_rate * (1.0 - base_rate)
    return 1.0 - brier / reference if reference > 0.0 else float("nan")


def risk_metrics(risk: Tensor, labels: Tensor, trajectory_ids: Tensor, *, num_bins: int) -> dict[str, float]:
    """Score risks ``[M]`` in ``[0, 1]`` against boolean labels ``[M]``, by name; undefined ones are not a number.

    ``brier`` is 0.25 for a constant one half, ``nll`` is in nats, ``num_trajectories`` the number of independent
    samples, whatever ``M`` is. The bins of the calibration errors are those of the calibration map and of the diagrams:
    unlike in torchmetrics' own, a risk on an edge, where isotonic regression puts many, belongs to the bin below.

    Example:
        >>> risk = torch.tensor([0.1, 0.2, 0.9])
        >>> risk_metrics(risk, risk > 0.5, torch.tensor([0, 0, 1]), num_bins=10)["auroc"]
        1.0
    """
    if risk.ndim != 1 or labels.shape != risk.shape or labels.dtype != torch.bool:
        got = f"{list(risk.shape)} and {labels.dtype} {list(labels.shape)}"
        raise ValueError(f"`risk` and boolean `labels` must have one shape [M], got {got}.")
    if not ((risk >= 0.0) & (risk <= 1.0)).all():
        raise ValueError("`risk` must lie in [0, 1], got a value outside or not a number.")
    exact, outcome, target = risk.double(), labels.double(), labels.long()
    likelihood = torch.where(labels, exact, 1.0 - exact).clamp(min=LOWEST_PROBABILITY)
    edges = [equal_width_edges(num_bins).to(risk.device)] * 2
    if len(risk) > 0:
        edges[1] = equal_mass_edges(exact, num_bins)
    ece, ece_equal_mass = (expected_calibration_error(reliability_curve(exact, labels, bins)) for bins in edges)
    auroc = average_precision = torch.tensor(float("nan"))
    if labels.any() and not labels.all():  # torchmetrics makes 0 of one class alone
        auroc, average_precision = binary_auroc(risk, target), binary_average_precision(risk, target)
    values = {
        "brier": (exact - outcome).square().mean(),
        "nll": -likelihood.log().mean(),
        "ece": ece,
        "ece_equal_mass": ece_equal_mass,
        "auroc": auroc,
        "average_precision": average_precision,
        "base_rate": outcome.mean(),
    }
    num_trajectories = float(torch.unique(trajectory_ids).numel())
    return {name: float(value) for name, value in values.items()} | {"num_trajectories": num_trajectories}
