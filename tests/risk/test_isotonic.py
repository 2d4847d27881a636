"""Isotonic calibration against scikit-learn."""

import pytest
import torch
from sklearn.isotonic import IsotonicRegression, isotonic_regression
from torch import Tensor

from rrl.risk.isotonic import IsotonicCalibration, pool_adjacent_violators


def _data(seed: int, decimals: int, num_samples: int = 800) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risk = torch.rand(num_samples, generator=generator, dtype=torch.float64).round(decimals=decimals).clamp(0.01, 0.99)
    return risk, torch.rand(num_samples, generator=generator) < risk**2


@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_agrees_with_scikit_learn_with_and_without_ties(decimals: int):
    risk, labels = _data(0, decimals)
    calibration = IsotonicCalibration()
    calibration.fit(risk.logit(), labels)
    reference = IsotonicRegression(out_of_bounds="clip").fit(risk.numpy(), labels.double().numpy())
    grid = torch.linspace(0.001, 0.999, 777, dtype=torch.float64)
    expected = torch.from_numpy(reference.predict(grid.numpy()))
    assert torch.allclose(calibration(grid.logit()), expected, atol=1e-9)


def test_pooling_agrees_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(300, generator=generator, dtype=torch.float64)
    weights = torch.rand(300, generator=generator, dtype=torch.float64) + 0.1
    expected = torch.from_numpy(isotonic_regression(values.numpy(), sample_weight=weights.numpy()))
    assert torch.allclose(pool_adjacent_violators(values, weights), expected)


def test_too_many_knots_are_thinned_and_the_map_stays_monotone():
    risk, labels = _data(0, 9)
    thinned, full = IsotonicCalibration(max_knots=6), IsotonicCalibration()
    for calibration in (thinned, full):
        calibration.fit(risk.logit(), labels)
    grid = torch.linspace(-6.0, 6.0, 500)
    assert (thinned(grid).diff() >= 0).all()
    assert (thinned(grid) - full(grid)).abs().mean() < 0.1


def test_one_knot_raises():
    with pytest.raises(ValueError, match="`max_knots` must be at least 2, got 1"):
        IsotonicCalibration(max_knots=1)
