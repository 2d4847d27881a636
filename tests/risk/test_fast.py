"""The frozen risk and gate answer as the modules do."""

import pytest
import torch

from rrl.risk import HistogramBinning, LogisticRiskModel, PlattScaling, RiskCalibrator, RiskGate
from rrl.risk.fast import fast_gate, fast_risk


def fitted(calibration=None, *, squares: bool = True, shrinkage: float = 20.0) -> tuple[RiskCalibrator, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(2000, 4, generator=generator) * torch.tensor([1.0, 0.01, 100.0, 0.0]) + 3.0
    labels = torch.rand(2000, generator=generator) < ((observations[:, 0] - 2.0).square() - 2.0).sigmoid()
    calibration = calibration or HistogramBinning(binning="equal_width", shrinkage=shrinkage)
    calibrator = RiskCalibrator(LogisticRiskModel(4, squares=squares), calibration)
    ids = torch.arange(2000) // 10
    calibrator.fit(observations, labels, ids, held_out=ids >= 160, generator=generator)
    return calibrator, observations * 1.5


@pytest.mark.parametrize("squares", [True, False])
@pytest.mark.parametrize("shrinkage", [20.0, 0.0])
def test_frozen_risk_equals_the_calibrators(squares: bool, shrinkage: float):
    calibrator, new = fitted(squares=squares, shrinkage=shrinkage)
    ours, expected = fast_risk(calibrator)(new), calibrator(new)
    assert ours.dtype == expected.dtype
    # A probability within rounding of an edge may fall on its other side.
    assert torch.isclose(ours, expected, rtol=1e-5).double().mean() > 0.999
    assert expected.unique().numel() > 1


def test_other_models_stay_as_they_are():
    calibrator, _ = fitted(PlattScaling())
    assert fast_risk(calibrator) is calibrator
    unfitted = RiskCalibrator(LogisticRiskModel(4), HistogramBinning())
    assert fast_risk(unfitted) is unfitted
    assert fast_gate(gate := RiskGate()) is gate


@pytest.mark.parametrize("mode", ["fixed", "base_rate", "quantile", "adaptive"])
@pytest.mark.parametrize("exploration", [0.0, 0.05, 1.0])
def test_frozen_gate_equals_the_gate(mode: str, exploration: float):
    generator = torch.Generator().manual_seed(1)
    risk = torch.randint(0, 8, (3000,), generator=generator) / 7.0
    gate = RiskGate(mode, budget=0.3, exploration=exploration, threshold=0.2)
    gate.update(risk, base_rate=1.0 / 7.0)
    gate.skill.fill_(0.7)
    uniforms = torch.rand(3000, generator=generator)
    assert torch.equal(fast_gate(gate)(risk, uniforms), gate(risk, uniforms))
