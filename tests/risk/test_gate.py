"""The gate: monotone, exact at its edges, true to its budget, and open without skill."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rrl.risk.gate import (
    AdaptiveBudget,
    BaseRateThreshold,
    Budget,
    FixedThreshold,
    Gate,
    GateEvidence,
    RiskGate,
    ThresholdRule,
    budget_threshold,
)

SHUT = [FixedThreshold(threshold=1.0), BaseRateThreshold(), Budget(budget=0.0), AdaptiveBudget(budget=0.0)]
RULES = [FixedThreshold(), BaseRateThreshold(), Budget(), AdaptiveBudget()]
SKILLED = GateEvidence(auroc=0.9, brier_skill=0.3, open_fraction=0.5)


def _uniforms(shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _gate(rule: ThresholdRule, exploration: float = 0.0) -> RiskGate:
    return RiskGate(Gate(rule=rule, exploration=exploration))


def _trained(
    rule: ThresholdRule,
    risk: Tensor,
    base_rate: float = 0.2,
    evidence: GateEvidence | None = SKILLED,
    exploration: float = 0.0,
) -> RiskGate:
    gate = _gate(rule, exploration)
    gate.update(risk, base_rate=base_rate, evidence=evidence)
    return gate


@pytest.mark.parametrize("rule", SHUT)
def test_open_before_the_first_fit(rule: ThresholdRule):
    assert _gate(rule)(torch.zeros(99), _uniforms(99)).all()


@pytest.mark.parametrize("threshold", [0.0, 0.2, 1.0])
def test_a_risk_at_the_threshold_is_shut_and_the_next_number_above_it_is_open(threshold: float):
    edge = torch.tensor(threshold)
    risk = torch.stack([edge, torch.nextafter(edge, torch.tensor(2.0))]).clamp(max=1.0)
    gate = _trained(FixedThreshold(threshold=threshold), risk)
    assert gate(risk, torch.tensor([0.0, 0.0])).tolist() == [False, threshold < 1.0]
    assert not gate(edge, torch.tensor(1.0 - 2**-24))


@pytest.mark.parametrize("rule", RULES)
def test_monotone_in_the_risk_for_given_draws(rule: ThresholdRule):
    risk = _uniforms(500).round(decimals=1).sort().values
    gate = _trained(rule, risk, exploration=0.05, evidence=GateEvidence(auroc=0.7, brier_skill=0.1, open_fraction=0.5))
    for draw in torch.linspace(0.0, 0.999, 40):
        assert (gate(risk, draw.expand(500)).int().diff() >= 0).all()


def test_the_base_rate_is_the_threshold_of_its_mode():
    gate = _trained(BaseRateThreshold(), torch.tensor([0.5]), base_rate=0.25)
    assert gate(torch.tensor([0.2, 0.25, 0.3]), _uniforms(3)).tolist() == [False, False, True]


@pytest.mark.parametrize("rule", [Budget, AdaptiveBudget])
@pytest.mark.parametrize("budget", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_the_budget_is_met_with_and_without_ties(rule: Callable[..., Budget], budget: float, decimals: int):
    risk = _uniforms(20_000).round(decimals=decimals)
    gate = _trained(rule(budget=budget), risk)
    is_open = gate(risk, _uniforms(20_000, seed=1))
    assert float(is_open.double().mean()) == pytest.approx(budget, abs=0.01 if 0 < budget < 1 else 0)


def test_the_budget_goes_to_the_riskiest_states():
    risk = _uniforms(1000)
    is_open = _trained(Budget(budget=0.3), risk)(risk, _uniforms(1000, seed=1))
    assert risk[is_open].min() >= risk[~is_open].max()


def test_a_constant_risk_makes_the_random_gate_of_the_same_budget():
    risk, uniforms = torch.full((50_000,), 0.4), _uniforms(50_000)
    is_open = _trained(Budget(budget=0.3), risk[:100])(risk, uniforms)
    assert float(is_open.double().mean()) == pytest.approx(0.3, abs=0.01)


@given(
    risks=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=1, max_size=30),
    budget=st.floats(0.0, 1.0),
)
def test_the_expected_open_share_equals_the_budget_whatever_the_ties(risks: list[float], budget: float):
    risk = torch.tensor(risks)
    threshold, tie_probability = budget_threshold(risk, budget)
    share = (risk > threshold).double() + tie_probability * (risk == threshold)
    assert float(share.mean()) == pytest.approx(budget, abs=1e-9)


@pytest.mark.parametrize("rule", SHUT)
def test_exploration_opens_its_share_whatever_the_risk(rule: ThresholdRule):
    gate = _trained(rule, torch.zeros(10), exploration=0.05)
    uniforms = _uniforms(100_000)
    is_open = gate(torch.zeros(100_000), uniforms)
    assert torch.equal(is_open, gate.explored(uniforms))
    assert float(is_open.double().mean()) == pytest.approx(0.05, abs=0.003)


def test_exploration_leaves_the_budget_of_the_other_states_alone():
    risk, uniforms = torch.full((100_000,), 0.3), _uniforms(100_000)
    gate = _trained(Budget(budget=0.4), risk, exploration=0.2)
    ruled = ~gate.explored(uniforms)
    assert float(gate(risk, uniforms)[ruled].double().mean()) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(
    "evidence",
    [
        None,
        GateEvidence(auroc=float("nan"), brier_skill=float("nan"), open_fraction=0.5),
        GateEvidence(auroc=0.55, brier_skill=0.2, open_fraction=0.5),
        GateEvidence(auroc=0.95, brier_skill=-0.1, open_fraction=0.5),
    ],
    ids=["no evidence", "one class", "no discrimination", "worse than the base rate"],
)
def test_adaptive_opens_without_skill(evidence: GateEvidence | None):
    risk = _uniforms(200)
    assert _trained(AdaptiveBudget(budget=0.1), risk, evidence=evidence)(risk, _uniforms(200, seed=1)).all()


def test_adaptive_opens_by_degrees_between_no_skill_and_full_skill():
    risk = torch.linspace(0.0, 1.0, 50_000)
    evidence = GateEvidence(auroc=0.7, brier_skill=0.1, open_fraction=0.5)
    gate = _trained(AdaptiveBudget(budget=0.2), risk, evidence=evidence)
    share = gate(risk, _uniforms(50_000)).double().mean()
    assert float(share) == pytest.approx(1.0 - 0.5 * (1.0 - 0.2), abs=0.01)


def test_adaptive_holds_the_budget_when_the_next_rollout_is_riskier():
    """The risk of every rollout lies above that of the rollout which set the threshold."""
    gate = _gate(AdaptiveBudget(budget=0.3))
    plain = _gate(Budget(budget=0.3))
    shares = {gate: 0.3, plain: 0.3}
    for step in range(30):
        for each in (gate, plain):
            evidence = GateEvidence(auroc=0.9, brier_skill=0.3, open_fraction=shares[each])
            each.update(0.8 * _uniforms(5000, seed=step), base_rate=0.1, evidence=evidence)
            newest = 0.8 * _uniforms(5000, seed=100 + step) + 0.1
            shares[each] = float(each(newest, _uniforms(5000, seed=200 + step)).double().mean())
    assert shares[plain] > 0.4
    assert shares[gate] == pytest.approx(0.3, abs=0.03)


def test_a_long_time_without_skill_does_not_wind_the_budget_up():
    gate = _gate(AdaptiveBudget(budget=0.3))
    for step in range(50):
        evidence = GateEvidence(auroc=0.5, brier_skill=0.0, open_fraction=1.0)
        gate.update(_uniforms(100, seed=step), base_rate=0.1, evidence=evidence)
    assert float(gate.requested_fraction) == pytest.approx(0.3)


def test_skill_rises_from_the_lower_to_the_upper_bound():
    skills = [AdaptiveBudget().skill(GateEvidence(auroc, 0.1, 0.5)) for auroc in (0.0, 0.6, 0.7, 0.8, 1.0)]
    assert skills == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])


@pytest.mark.parametrize("rule", RULES)
def test_a_checkpoint_loads_into_a_new_gate(rule: ThresholdRule):
    risk = _uniforms(100)
    gate, copy = _trained(rule, risk), _gate(rule)
    copy.load_state_dict(gate.state_dict())
    assert torch.equal(gate(risk, _uniforms(100, seed=1)), copy(risk, _uniforms(100, seed=1)))
    for each in (gate, copy):
        each.update(risk.square(), base_rate=0.1, evidence=SKILLED._replace(open_fraction=0.7))
    assert torch.equal(gate.threshold, copy.threshold)


@pytest.mark.parametrize("risk", [torch.tensor([1.1]), torch.tensor([-0.1]), torch.tensor([float("nan")])])
def test_a_risk_that_is_no_probability_raises(risk: Tensor):
    with pytest.raises(ValueError, match=r"`risk` must lie in \[0, 1\]"):
        RiskGate(Gate())(risk, torch.zeros(1))
    with pytest.raises(ValueError, match=r"`risk` must lie in \[0, 1\]"):
        RiskGate(Gate()).update(risk, base_rate=0.1)


def test_other_bad_input_raises():
    with pytest.raises(ValueError, match="`uniforms` must have shape"):
        RiskGate(Gate())(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="`risk` must have shape"):
        RiskGate(Gate()).update(torch.zeros(0), base_rate=0.1)
    with pytest.raises(ValueError, match=r"`base_rate` must lie in \[0, 1\], got 2"):
        RiskGate(Gate()).update(torch.zeros(1), base_rate=2.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedThreshold(threshold=1.5), r"`threshold` must lie in \[0, 1\], got 1.5"),
        (lambda: Budget(budget=-0.1), r"`budget` must lie in \[0, 1\]"),
        (lambda: AdaptiveBudget(skill_range=(0.8, 0.6)), "`skill_range` must be ascending"),
        (lambda: Gate(exploration=float("nan")), r"`exploration` must lie in \[0, 1\]"),
        (lambda: Gate(signal="noise"), "`signal` must be .*'noise'"),
        (lambda: Gate(signal="constant", rule=FixedThreshold()), "'constant' needs a `rule` with a budget"),
        (lambda: Gate(min_open_steps=0), "`min_open_steps` must be at least 1"),
    ],
)
def test_bad_arguments_raise(make: Callable[[], Any], message: str):
    with pytest.raises(ValueError, match=message):
        make()
