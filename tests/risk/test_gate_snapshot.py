"""The rule that is asked at every step decides as risk model and gate do."""

import pytest
import torch

from rrl.risk import (
    AdaptiveBudget,
    BaseRateThreshold,
    Budget,
    FixedThreshold,
    Gate,
    Histogram,
    Logistic,
    RiskCalibrator,
    RiskGate,
)
from rrl.risk.calibration import HistogramBinning
from rrl.risk.gate import ThresholdRule
from rrl.risk.gate_snapshot import gate_snapshot
from rrl.risk.scaling import PlattScaling


def fitted(calibration=None, *, squares: bool = True) -> tuple[RiskCalibrator, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(2000, 4, generator=generator) * torch.tensor([1.0, 0.01, 100.0, 0.0]) + 3.0
    labels = torch.rand(2000, generator=generator) < ((observations[:, 0] - 2.0).square() - 2.0).sigmoid()
    calibrator = RiskCalibrator(Logistic(squares=squares).build(4), calibration or HistogramBinning(Histogram()))
    ids = torch.arange(2000) // 10
    calibrator.fit(observations, labels, ids, held_out=ids >= 160, generator=generator)
    return calibrator, observations * 1.5


def gate_for(risk: torch.Tensor, **options: object) -> RiskGate:
    gate = RiskGate(Gate(**options))
    gate.update(risk, base_rate=0.3)
    return gate


@pytest.mark.parametrize("squares", [True, False])
def test_the_rule_knows_the_calibrated_risk(squares: bool):
    calibrator, new = fitted(squares=squares)
    ours = gate_snapshot(calibrator, gate_for(calibrator(new)))(new, torch.rand(2000))[0]
    expected = calibrator(new)
    assert ours.dtype == expected.dtype
    # A probability within rounding of an edge may fall on its other side.
    assert (ours == expected).double().mean() > 0.999
    assert expected.unique().numel() > 1


@pytest.mark.parametrize(
    "rule", [FixedThreshold(), BaseRateThreshold(), Budget(budget=0.3), AdaptiveBudget(budget=0.3)]
)
@pytest.mark.parametrize("exploration", [0.0, 0.05, 1.0])
def test_the_rule_opens_where_the_gate_does(rule: ThresholdRule, exploration: float):
    calibrator, new = fitted()
    gate = gate_for(calibrator(new), rule=rule, exploration=exploration)
    gate.skill.fill_(0.7)
    uniforms = torch.rand(2000, generator=torch.Generator().manual_seed(1))
    risk, is_open = gate_snapshot(calibrator, gate)(new, uniforms)
    assert torch.equal(is_open, gate(risk, uniforms))


@pytest.mark.parametrize(
    "calibration",
    [PlattScaling(), HistogramBinning(Histogram(num_bins=10_000, binning="equal_width", shrinkage=0.0))],
)
def test_where_there_is_no_shorter_way_the_modules_decide(calibration):
    calibrator, new = fitted(calibration)
    gate, uniforms = gate_for(calibrator(new)), torch.rand(2000)
    risk, is_open = gate_snapshot(calibrator, gate)(new, uniforms)
    assert torch.equal(risk, calibrator(new))
    assert torch.equal(is_open, gate(risk, uniforms))


def test_before_the_first_fit_every_state_is_open():
    rule = gate_snapshot(RiskCalibrator(Logistic().build(4), PlattScaling()), RiskGate(Gate(exploration=0.0)))
    assert rule(torch.randn(5, 4), torch.zeros(5))[1].all()


def test_an_uncertain_signal_is_the_variance_of_the_failure():
    calibrator, new = fitted()
    risk = calibrator(new)
    gate = gate_for(4.0 * risk * (1.0 - risk), signal="uncertain", rule=FixedThreshold(threshold=0.8), exploration=0.0)
    signal, is_open = gate_snapshot(calibrator, gate)(new, torch.rand(2000))
    torch.testing.assert_close(signal, 4.0 * risk * (1.0 - risk))
    assert torch.equal(is_open, (risk * (1.0 - risk)) > 0.2)
