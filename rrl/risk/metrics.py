"""How good a risk model is, on data that it has not seen.

Meant to be used *prequentially*: each rollout is scored with the model that gated it, before anything is fitted to it.
The calibration error on fitted data is zero by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from rrl.checks import require_at_least, require_within
from rrl.risk.calibration import bin_index, equal_mass_edges, equal_width_edges

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


class Reliability(NamedTuple):
    """A reliability curve: one point a bin, float64, ``[K]``."""

    counts: Tensor
    """Samples in each bin."""
    mean_risk: Tensor
    """Mean predicted risk in each bin; not a number where it is empty."""
    failure_rate: Tensor
    """Share of failures in each bin; not a number where it is empty."""


class ScoredStates(NamedTuple):
    """Risks of states together with what happened."""

    risk: Tensor
    """Predicted risks, in ``[0, 1]``. Shape ``[M]``."""
    labels: Tensor
    """True where the state led to a failure. Boolean, shape ``[M]``."""
    trajectory_ids: Tensor
    """Trajectory of each state. Long, shape ``[M]``."""


class Interval(NamedTuple):
    """Lower and upper end of a percentile interval, each of the shape of the statistic."""

    low: Tensor
    high: Tensor


class ReliabilityBand(NamedTuple):
    """A reliability curve and how far other trajectories could have moved it."""

    curve: Reliability
    band: Interval
    """Of the failure rate of each bin."""


def reliability_curve(risk: Tensor, labels: Tensor, edges: Tensor) -> Reliability:
    """Compare predicted risks ``[M]`` with labels ``[M]`` in the bins between edges ``[K + 1]``.

    Example:
        >>> curve = reliability_curve(
        ...     torch.tensor([0.2, 0.4]), torch.tensor([False, True]), torch.tensor([0.0, 0.5, 1.0])
        ... )
        >>> curve.failure_rate
        tensor([0.5000,    nan], dtype=torch.float64)
    """
    num_bins = edges.numel() - 1
    index = bin_index(risk, edges)
    counts = torch.bincount(index, minlength=num_bins).double()
    risk_sums = torch.bincount(index, weights=risk.double(), minlength=num_bins)
    failures = torch.bincount(index, weights=labels.double(), minlength=num_bins)
    return Reliability(counts, risk_sums / counts, failures / counts)


def expected_calibration_error(curve: Reliability) -> Tensor:
    r"""Average the distance between predicted risk and failure rate over the samples; not a number without any.

    .. math::
        \mathrm{ECE} = \sum_k \frac{|B_k|}{M} \left| \bar r_k - \bar y_k \right|

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, eq. 3.
    """
    gaps = (curve.mean_risk - curve.failure_rate).abs().nan_to_num(0.0)
    return (curve.counts * gaps).sum() / curve.counts.sum()


def reliability_band(
    states: ScoredStates, *, num_bins: int, generator: torch.Generator, num_resamples: int = 200
) -> ReliabilityBand:
    """Compute a reliability curve over bins of equal mass with its 95 % band, see `bootstrap_by_trajectory`.

    Example:
        >>> states = ScoredStates(torch.linspace(0, 1, 40), torch.arange(40) >= 20, torch.arange(40) // 4)
        >>> reliability_band(states, num_bins=2, generator=torch.Generator()).curve.failure_rate
        tensor([0., 1.], dtype=torch.float64)
    """
    edges = equal_mass_edges(states.risk, num_bins)

    def failure_rates(risk: Tensor, labels: Tensor) -> Tensor:
        return reliability_curve(risk, labels, edges).failure_rate

    band = bootstrap_by_trajectory(failure_rates, states, generator=generator, num_resamples=num_resamples)
    return ReliabilityBand(reliability_curve(states.risk, states.labels, edges), band)


def bootstrap_by_trajectory(
    statistic: Callable[[Tensor, Tensor], Tensor],
    states: ScoredStates,
    *,
    generator: torch.Generator,
    num_resamples: int = 500,
    confidence: float = 0.95,
) -> Interval:
    """Estimate how far a statistic of risks and labels would vary with other trajectories.

    Whole trajectories are drawn with replacement: states of one are not independent samples. Resamples in which the
    statistic is undefined (one class only, an empty bin) are left out. With few trajectories the interval is too
    narrow, as every percentile bootstrap's is.
    The statistic maps risks and labels ``[M']`` to a number, or to one number a bin; ``confidence`` is the share of the
    resamples inside the interval, in ``(0, 1)``.

    References:
        Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 13.3.
    """
    risk, labels, trajectory_ids = states
    if risk.ndim != 1 or risk.numel() == 0 or not labels.shape == trajectory_ids.shape == risk.shape:
        shapes = [list(tensor.shape) for tensor in states]
        raise ValueError(f"`risk`, `labels` and `trajectory_ids` must have one shape [M], M >= 1, got {shapes}.")
    require_at_least(1, num_resamples=num_resamples)
    require_within("(0, 1)", confidence=confidence)
    _, counts = torch.unique(trajectory_ids, return_counts=True)
    members = torch.split(trajectory_ids.argsort(stable=True), counts.tolist())
    values = []
    for _ in range(num_resamples):
        drawn = torch.randint(len(members), (len(members),), generator=generator)
        samples = torch.cat([members[trajectory] for trajectory in drawn.tolist()])
        values.append(statistic(risk[samples], labels[samples]))
    tail = 0.5 * (1.0 - confidence)
    stacked = torch.stack(values)
    return Interval(stacked.nanquantile(tail, dim=0), stacked.nanquantile(1.0 - tail, dim=0))
