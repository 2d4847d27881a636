"""Risk metrics against scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from rrl.risk.calibration import equal_mass_edges, equal_width_edges
from rrl.risk.metrics import (
    LOWEST_PROBABILITY,
    ScoredStates,
    bootstrap_by_trajectory,
    brier_skill_score,
    expected_calibration_error,
    reliability_curve,
    risk_metrics,
)


def _data(seed: int = 0, num_samples: int = 500) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risk = torch.rand(num_samples, generator=generator)
    return risk, torch.rand(num_samples, generator=generator) < risk, torch.arange(num_samples) // 50


def test_the_metrics_agree_with_scikit_learn():
    risk, labels, ids = _data()
    values = risk_metrics(risk, labels, ids, num_bins=10)
    exact, outcome = risk.double().numpy(), labels.numpy()
    assert values["brier"] == pytest.approx(brier_score_loss(outcome, exact), rel=1e-12)
    assert values["nll"] == pytest.approx(log_loss(outcome, exact), abs=1e-6)
    assert values["auroc"] == pytest.approx(roc_auc_score(outcome, exact), abs=1e-6)
    assert values["average_precision"] == pytest.approx(average_precision_score(outcome, exact), abs=1e-6)
    assert values["base_rate"] == pytest.approx(outcome.mean())
    assert values["num_trajectories"] == 10


def test_the_metrics_have_the_registered_names():
    names = {"brier", "nll", "ece", "ece_equal_mass", "auroc", "average_precision", "base_rate", "num_trajectories"}
    assert set(risk_metrics(*_data(), num_bins=10)) == names


@pytest.mark.parametrize("outcome", [False, True])
def test_ranking_is_undefined_for_one_class_and_says_so(outcome: bool):
    risk, _, ids = _data()
    values = risk_metrics(risk, torch.full((500,), outcome), ids, num_bins=10)
    assert math.isnan(values["auroc"])
    assert math.isnan(values["average_precision"])
    assert math.isfinite(values["brier"])


def test_a_rollout_without_known_labels_is_undefined_and_no_error():
    values = risk_metrics(torch.zeros(0), torch.zeros(0, dtype=torch.bool), torch.zeros(0).long(), num_bins=10)
    assert values.pop("num_trajectories") == 0
    assert all(math.isnan(value) for value in values.values())


def test_a_certain_error_keeps_the_likelihood_finite():
    values = risk_metrics(torch.tensor([0.0, 1.0]), torch.tensor([True, False]), torch.arange(2), num_bins=10)
    assert values["nll"] == pytest.approx(-math.log(LOWEST_PROBABILITY))


def test_the_skill_is_zero_for_the_base_rate_and_one_for_perfection():
    assert brier_skill_score(0.21, base_rate=0.3) == pytest.approx(0.0)
    assert brier_skill_score(0.0, base_rate=0.3) == 1.0
    assert math.isnan(brier_skill_score(0.0, base_rate=0.0))


@pytest.mark.parametrize(
    ("risk", "labels", "num_bins", "message"),
    [
        (torch.tensor([-0.1]), torch.tensor([True]), 5, r"`risk` must lie in \[0, 1\]"),
        (torch.tensor([1.5]), torch.tensor([True]), 5, r"`risk` must lie in \[0, 1\]"),
        (torch.tensor([float("nan")]), torch.tensor([True]), 5, r"`risk` must lie in \[0, 1\]"),
        (torch.tensor([0.5]), torch.tensor([1]), 5, "boolean `labels`"),
        (torch.tensor([0.5]), torch.tensor([True, False]), 5, "must have one shape"),
        (torch.tensor([0.5]), torch.tensor([True]), 0, "`num_bins` must be at least 1, got 0"),
    ],
)
def test_bad_input_raises(risk: Tensor, labels: Tensor, num_bins: int, message: str):
    with pytest.raises(ValueError, match=message):
        risk_metrics(risk, labels, torch.arange(len(labels)), num_bins=num_bins)


def _errors(risk: Tensor, labels: Tensor, num_bins: int) -> tuple[float, float]:
    values = risk_metrics(risk, labels, torch.arange(len(risk)), num_bins=num_bins)
    return values["ece"], values["ece_equal_mass"]


def _scored(seed: int = 0, num_samples: int = 1003) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risk = torch.rand(num_samples, generator=generator, dtype=torch.float64)
    return risk, torch.rand(num_samples, generator=generator) < risk**2


@pytest.mark.parametrize(("strategy", "edges"), [("uniform", equal_width_edges), ("quantile", None)])
def test_the_curve_agrees_with_scikit_learn(strategy: str, edges: Callable[[int], Tensor] | None):
    risk, labels = _scored()
    curve = reliability_curve(risk, labels, edges(8) if edges else equal_mass_edges(risk, 8))
    rates, means = calibration_curve(labels.numpy(), risk.numpy(), n_bins=8, strategy=strategy)
    assert curve.failure_rate.tolist() == pytest.approx(rates)
    assert curve.mean_risk.tolist() == pytest.approx(means)


def test_the_equal_width_error_agrees_with_torchmetrics():
    risk, labels = _scored()
    reference = binary_calibration_error(risk, labels.long(), n_bins=15, norm="l1")
    assert _errors(risk, labels, 15)[0] == pytest.approx(float(reference), abs=1e-6)


def test_a_risk_on_an_edge_belongs_to_the_bin_below():
    risk, labels = torch.tensor([0.25, 0.5, 0.5]), torch.tensor([True, False, False])
    assert _errors(risk, labels, 2)[0] == pytest.approx(1.25 / 3 - 1 / 3)


def test_the_equal_mass_error_by_hand():
    risk, labels = torch.tensor([0.1, 0.3, 0.6, 0.8]), torch.tensor([False, False, True, False])
    assert _errors(risk, labels, 2)[1] == pytest.approx(0.5 * 0.2 + 0.5 * 0.2)


def test_a_perfectly_reliable_risk_has_no_error():
    risk = torch.tensor([0.25] * 4 + [0.75] * 4)
    labels = torch.tensor([1, 0, 0, 0, 1, 1, 1, 0]).bool()
    assert expected_calibration_error(reliability_curve(risk, labels, equal_width_edges(2))) == 0.0


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rate(risk: Tensor, labels: Tensor) -> Tensor:
    return labels.double().mean()


def _clustered(num_trajectories: int, length: int, seed: int = 0) -> ScoredStates:
    """All states of a trajectory share one label."""
    fates = torch.rand(num_trajectories, generator=_generator(seed)) < 0.3
    ids = torch.arange(num_trajectories).repeat_interleave(length)
    return ScoredStates(torch.rand(len(ids), generator=_generator(seed + 1)), fates[ids], ids)


def test_agrees_with_scipy_on_trajectories_of_one_state():
    values = torch.randn(60, generator=_generator(), dtype=torch.float64)
    low, high = bootstrap_by_trajectory(
        lambda risk, _: risk.mean(),
        ScoredStates(values, values > 0, torch.arange(60)),
        generator=_generator(),
        num_resamples=4000,
    )
    reference = bootstrap(
        (values.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert float(low) == pytest.approx(reference.low, abs=0.02)
    assert float(high) == pytest.approx(reference.high, abs=0.02)


def test_repeating_every_state_does_not_narrow_the_interval():
    widths = []
    for length in (1, 20):
        low, high = bootstrap_by_trajectory(_rate, _clustered(40, length), generator=_generator())
        widths.append(float(high - low))
    assert widths[1] == pytest.approx(widths[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        data = _clustered(40, 3, seed=1000 * seed)
        low, high = bootstrap_by_trajectory(_rate, data, generator=_generator(seed), num_resamples=200, confidence=0.9)
        covered += bool(low <= 0.3 <= high)
    assert 80 <= covered <= 98


def test_bands_of_a_curve_leave_resamples_with_an_empty_bin_out():
    risk, labels, ids = _clustered(10, 5)
    risk[:5] = 0.99  # one trajectory alone reaches the last bin
    risk[5:] *= 0.8

    def rates(risk: Tensor, labels: Tensor) -> Tensor:
        return reliability_curve(risk, labels, equal_width_edges(10)).failure_rate

    low, high = bootstrap_by_trajectory(rates, ScoredStates(risk, labels, ids), generator=_generator())
    assert low.shape == high.shape == (10,)
    assert low[-1] == high[-1] == labels[0].double()
    assert low[8].isnan()


def test_bad_arguments_raise():
    states = _clustered(3, 2)
    with pytest.raises(ValueError, match="must have one shape"):
        bootstrap_by_trajectory(_rate, states._replace(trajectory_ids=states.risk[:-1]), generator=_generator())
    with pytest.raises(ValueError, match="`num_resamples` must be at least 1"):
        bootstrap_by_trajectory(_rate, states, generator=_generator(), num_resamples=0)
    with pytest.raises(ValueError, match="`confidence` must lie"):
        bootstrap_by_trajectory(_rate, states, generator=_generator(), confidence=1.0)
