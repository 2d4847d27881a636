"""Platt and temperature scaling."""

import pytest
import torch
from sklearn.calibration import _SigmoidCalibration
from torch import Tensor

from rrl.risk.scaling import INVERSE_TEMPERATURE_BOUNDS, PlattScaling, TemperatureScaling


def _data(seed: int = 0, num_samples: int = 500) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(num_samples, generator=generator, dtype=torch.float64)
    return logits, torch.rand(num_samples, generator=generator) < torch.sigmoid(0.4 * logits - 0.7)


@pytest.mark.parametrize("scale", [0.05, 1.0, 40.0])
def test_platt_agrees_with_scikit_learn(scale: float):
    logits, labels = _data()
    calibration = PlattScaling()
    calibration.fit(scale * logits, labels)
    reference = _SigmoidCalibration().fit(scale * logits.numpy(), labels.numpy())
    expected = torch.from_numpy(reference.predict(scale * logits.numpy()))
    assert torch.allclose(calibration(scale * logits), expected, atol=1e-4)


def test_platt_finds_the_map_that_made_the_labels():
    calibration = PlattScaling()
    calibration.fit(*_data(num_samples=200_000))
    assert calibration.coefficients.tolist() == pytest.approx([0.4, -0.7], abs=0.02)


def test_temperature_keeps_the_ranking():
    logits, labels = _data()
    calibration = TemperatureScaling()
    calibration.fit(logits, labels)
    assert torch.equal(calibration(logits).argsort(), logits.argsort())


def test_temperature_is_the_stationary_point_of_the_likelihood():
    logits, labels = _data()
    calibration = TemperatureScaling()
    calibration.fit(logits, labels)
    scale = calibration.inverse_temperature.clone().requires_grad_()
    torch.nn.functional.binary_cross_entropy_with_logits(scale * logits, labels.double()).backward()
    assert abs(float(scale.grad)) < 1e-12


def test_temperature_undoes_a_known_scale():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(100_000, generator=generator)
    labels = torch.rand(100_000, generator=generator) < logits.sigmoid()
    calibration = TemperatureScaling()
    calibration.fit(5.0 * logits, labels)
    assert float(calibration.inverse_temperature) == pytest.approx(0.2, abs=0.01)


def test_separable_data_stop_at_the_bound():
    calibration = TemperatureScaling()
    calibration.fit(torch.tensor([-1.0, 1.0]), torch.tensor([False, True]))
    assert float(calibration.inverse_temperature) == pytest.approx(INVERSE_TEMPERATURE_BOUNDS[1])
