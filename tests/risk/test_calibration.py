"""Bins and histogram binning by hand, isotonic regression against scikit-learn, and what every map promises."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from rrl.risk.calibration import (
    CalibrationMap,
    Histogram,
    HistogramBinning,
    IdentityCalibration,
    IsotonicCalibration,
    bin_index,
    equal_mass_edges,
    equal_width_edges,
)
from rrl.risk.metrics import expected_calibration_error, reliability_curve
from rrl.risk.scaling import PlattScaling, TemperatureScaling


def histogram(**settings: Any) -> HistogramBinning:
    return HistogramBinning(Histogram(**settings))


MAPS = [
    histogram,
    lambda: histogram(binning="equal_width", shrinkage=0.0),
    PlattScaling,
    TemperatureScaling,
    IsotonicCalibration,
    IdentityCalibration,
]


def _overconfident(seed: int, num_samples: int = 4000) -> tuple[Tensor, Tensor]:
    """Logits three times too large for the labels that they come with."""
    generator = torch.Generator().manual_seed(seed)
    true_logits = torch.randn(num_samples, generator=generator) - 1.0
    labels = torch.rand(num_samples, generator=generator) < true_logits.sigmoid()
    return 3.0 * true_logits, labels


def _logits(*risks: float) -> Tensor:
    return torch.tensor(risks, dtype=torch.float64).logit()


def test_histogram_binning_by_hand():
    calibration = histogram(num_bins=4, binning="equal_width", shrinkage=0.0)
    calibration.fit(_logits(0.1, 0.2, 0.2, 0.9, 0.8), torch.tensor([True, False, False, True, True]))
    assert calibration.counts.tolist() == [3, 0, 0, 2]
    assert torch.allclose(calibration(_logits(0.01, 0.2, 0.99)), torch.tensor([1 / 3, 1 / 3, 1.0]).double())


def test_an_empty_bin_is_the_identity():
    calibration = histogram(num_bins=4, binning="equal_width", shrinkage=0.0)
    calibration.fit(_logits(0.1, 0.9), torch.tensor([True, False]))
    assert torch.allclose(calibration(_logits(0.3, 0.7)), torch.tensor([0.3, 0.7]).double())


def test_shrinkage_pulls_to_the_mean_raw_probability_of_the_bin():
    calibration = histogram(num_bins=1, shrinkage=2.0)
    calibration.fit(_logits(0.2, 0.4), torch.tensor([True, True]))
    assert calibration(_logits(0.5)).item() == pytest.approx((2 + 2 * 0.3) / 4)


def test_equal_mass_bins_hold_equally_many_samples():
    logits, labels = _overconfident(0, num_samples=1000)
    calibration = histogram(num_bins=10)
    calibration.fit(logits, labels)
    assert calibration.counts.tolist() == [100] * 10


def test_in_sample_calibration_error_of_plain_binning_is_zero_by_construction():
    logits, labels = _overconfident(0)
    calibration = histogram(num_bins=10, binning="equal_width", shrinkage=0.0)
    calibration.fit(logits, labels)
    curve = reliability_curve(calibration(logits.double()), labels, equal_width_edges(10))
    assert expected_calibration_error(curve) < 1e-12


@pytest.mark.parametrize("make", MAPS[:-1])
def test_calibration_lowers_error_and_brier_score_on_new_data(make: Callable[[], CalibrationMap]):
    calibration = make()
    calibration.fit(*_overconfident(0))
    logits, labels = _overconfident(1)
    scores = []
    for risk in (logits.sigmoid(), calibration(logits)):
        error = expected_calibration_error(reliability_curve(risk, labels, equal_width_edges(10)))
        scores.append((float(error), float((risk - labels.double()).square().mean())))
    assert scores[1][0] < 0.5 * scores[0][0]
    assert scores[1][1] < scores[0][1]


@pytest.mark.parametrize("make", MAPS)
def test_before_the_fit_and_after_a_reset_a_map_is_the_identity(make: Callable[[], CalibrationMap]):
    calibration, logits = make(), torch.linspace(-6.0, 6.0, 50)
    assert torch.allclose(calibration(logits), logits.sigmoid(), atol=1e-6)
    calibration.fit(*_overconfident(0))
    calibration.reset()
    assert torch.allclose(calibration(logits), logits.sigmoid(), atol=1e-6)


@pytest.mark.parametrize("make", MAPS)
def test_a_risk_is_a_probability_of_the_shape_and_type_of_the_logits(make: Callable[[], CalibrationMap]):
    calibration = make()
    calibration.fit(*_overconfident(0))
    risk = calibration(torch.linspace(-1e4, 1e4, 12).view(3, 4))
    assert risk.shape == (3, 4)
    assert risk.dtype == torch.float32
    assert ((risk >= 0) & (risk <= 1)).all()


@pytest.mark.parametrize("make", MAPS)
def test_a_checkpoint_loads_into_a_new_map(make: Callable[[], CalibrationMap]):
    fitted, copy = make(), make()
    fitted.fit(*_overconfident(0))
    copy.load_state_dict(fitted.state_dict())
    logits = torch.linspace(-9.0, 9.0, 100)
    assert torch.equal(fitted(logits), copy(logits))


@pytest.mark.parametrize("make", MAPS)
@pytest.mark.parametrize("outcome", [False, True])
def test_one_class_gives_finite_risks(make: Callable[[], CalibrationMap], outcome: bool):
    calibration = make()
    calibration.fit(torch.randn(50, generator=torch.Generator()), torch.full((50,), outcome))
    assert calibration(torch.linspace(-5.0, 5.0, 20)).isfinite().all()


@pytest.mark.parametrize("make", MAPS)
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(0), torch.zeros(0, dtype=torch.bool), "`risk_logits` must have shape"),
        (torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.bool), "`risk_logits` must have shape"),
        (torch.tensor([float("inf")]), torch.tensor([True]), "`risk_logits` must be finite"),
        (torch.zeros(2), torch.zeros(2), "`labels` must be boolean"),
        (torch.zeros(2), torch.zeros(3, dtype=torch.bool), "`labels` must be boolean"),
    ],
)
def test_bad_data_raise(make: Callable[[], CalibrationMap], logits: Tensor, labels: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        make().fit(logits, labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 0}, "`num_bins` must be at least 1, got 0"),
        ({"binning": "random"}, "`binning` must be"),
        ({"shrinkage": -1.0}, "`shrinkage` must be at least 0"),
    ],
)
def test_bad_arguments_raise(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Histogram(**arguments)


def test_the_edges_cover_the_unit_interval():
    for edges in (equal_width_edges(7), equal_mass_edges(torch.rand(50), 7)):
        assert (edges[0], edges[-1]) == (0.0, 1.0)
        assert (edges.diff() >= 0).all()


def test_a_bin_holds_its_upper_edge_and_the_first_one_zero():
    risk = torch.tensor([0.0, 0.25, 0.2501, 0.5, 0.75, 0.76, 1.0])
    assert bin_index(risk, equal_width_edges(4)).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_one_value_shared_by_all_falls_into_one_bin():
    risk = torch.full((10,), 0.3)
    assert bin_index(risk, equal_mass_edges(risk, 5)).unique().numel() == 1


def _risks(seed: int, decimals: int, num_samples: int = 800) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risk = torch.rand(num_samples, generator=generator, dtype=torch.float64).round(decimals=decimals).clamp(0.01, 0.99)
    return risk, torch.rand(num_samples, generator=generator) < risk**2


@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_agrees_with_scikit_learn_with_and_without_ties(decimals: int):
    risk, labels = _risks(0, decimals)
    calibration = IsotonicCalibration()
    calibration.fit(risk.logit(), labels)
    reference = IsotonicRegression(out_of_bounds="clip").fit(risk.numpy(), labels.double().numpy())
    grid = torch.linspace(0.001, 0.999, 777, dtype=torch.float64)
    expected = torch.from_numpy(reference.predict(grid.numpy()))
    assert torch.allclose(calibration(grid.logit()), expected, atol=1e-9)


def test_too_many_knots_are_thinned_and_the_map_stays_monotone():
    risk, labels = _risks(0, 9)
    thinned, full = IsotonicCalibration(max_knots=6), IsotonicCalibration()
    for calibration in (thinned, full):
        calibration.fit(risk.logit(), labels)
    grid = torch.linspace(-6.0, 6.0, 500)
    assert (thinned(grid).diff() >= 0).all()
    assert (thinned(grid) - full(grid)).abs().mean() < 0.1


def test_one_knot_raises():
    with pytest.raises(ValueError, match="`max_knots` must be at least 2, got 1"):
        IsotonicCalibration(max_knots=1)
