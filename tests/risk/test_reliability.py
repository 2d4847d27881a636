"""Reliability curve and calibration errors against scikit-learn and torchmetrics."""

from collections.abc import Callable

import pytest
import torch
from sklearn.calibration import calibration_curve
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryCalibrationError

from rrl.risk.bins import equal_mass_edges, equal_width_edges
from rrl.risk.reliability import (
    EqualMassCalibrationError,
    EqualWidthCalibrationError,
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)


def _data(seed: int = 0, num_samples: int = 1003) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risk = torch.rand(num_samples, generator=generator, dtype=torch.float64)
    return risk, torch.rand(num_samples, generator=generator) < risk**2


@pytest.mark.parametrize(("strategy", "edges"), [("uniform", equal_width_edges), ("quantile", None)])
def test_the_curve_agrees_with_scikit_learn(strategy: str, edges: Callable[[int], Tensor] | None):
    risk, labels = _data()
    curve = reliability_curve(risk, labels, edges(8) if edges else equal_mass_edges(risk, 8))
    rates, means = calibration_curve(labels.numpy(), risk.numpy(), n_bins=8, strategy=strategy)
    assert curve.failure_rate.tolist() == pytest.approx(rates)
    assert curve.mean_risk.tolist() == pytest.approx(means)


def test_the_equal_width_error_agrees_with_torchmetrics():
    risk, labels = _data()
    ours, reference = EqualWidthCalibrationError(15), BinaryCalibrationError(n_bins=15, norm="l1")
    for metric in (ours, reference):
        metric.update(risk, labels)
    assert float(ours.compute()) == pytest.approx(float(reference.compute()), abs=1e-6)


def test_the_equal_mass_error_by_hand():
    metric = EqualMassCalibrationError(2)
    metric.update(torch.tensor([0.1, 0.3]), torch.tensor([False, False]))
    metric.update(torch.tensor([0.6, 0.8]), torch.tensor([True, False]))
    assert float(metric.compute()) == pytest.approx(0.5 * 0.2 + 0.5 * 0.2)


def test_a_perfectly_reliable_risk_has_no_error():
    risk = torch.tensor([0.25] * 4 + [0.75] * 4)
    labels = torch.tensor([1, 0, 0, 0, 1, 1, 1, 0]).bool()
    assert expected_calibration_error(reliability_curve(risk, labels, equal_width_edges(2))) == 0.0


@pytest.mark.parametrize("make", [ReliabilityCurve, EqualWidthCalibrationError, EqualMassCalibrationError])
def test_batches_and_ranks_add_up_to_the_whole(make: Callable[[int], Metric]):
    risk, labels = _data()
    whole, first, second = make(10), make(10), make(10)
    whole.update(risk, labels)
    first.update(risk[:200], labels[:200])
    first.update(risk[200:500], labels[200:500])
    second.update(risk[500:], labels[500:])
    first.merge_state(second)
    first._computed = None
    results = [metric.compute() for metric in (first, whole)]
    stacked = [torch.stack(list(result)) if isinstance(result, tuple) else result for result in results]
    assert torch.allclose(*stacked)


def test_the_curve_needs_constant_memory():
    metric = ReliabilityCurve(10)
    for seed in range(3):
        metric.update(*_data(seed))
    assert all(state.shape == (10,) for state in metric.metric_state.values())


def test_a_reset_forgets():
    metric = ReliabilityCurve(4)
    metric.update(*_data())
    metric.reset()
    assert metric.counts.sum() == 0


@pytest.mark.parametrize("make", [ReliabilityCurve, EqualWidthCalibrationError, EqualMassCalibrationError])
@pytest.mark.parametrize(
    ("risk", "labels", "message"),
    [
        (torch.tensor([1.5]), torch.tensor([True]), r"`preds` must lie in \[0, 1\]"),
        (torch.tensor([float("nan")]), torch.tensor([True]), r"`preds` must lie in \[0, 1\]"),
        (torch.tensor([0.5]), torch.tensor([1]), "boolean `target`"),
        (torch.tensor([0.5]), torch.tensor([True, False]), "must have one shape"),
    ],
)
def test_bad_predictions_raise(make: Callable[[int], Metric], risk: Tensor, labels: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        make(5).update(risk, labels)


@pytest.mark.parametrize("make", [ReliabilityCurve, EqualWidthCalibrationError, EqualMassCalibrationError])
def test_without_bins_it_raises(make: Callable[[int], Metric]):
    with pytest.raises(ValueError, match="`num_bins` must be at least 1, got 0"):
        make(0)
