"""The gate: from the calibrated risk of a state to whether the adversary may push in it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least, require_one_of, require_within

BUDGET_GAIN = 0.5
"""Share of the budget error that the adaptive gate corrects at each update; 1 would chase the noise of one rollout."""


class GateEvidence(NamedTuple):
    """What a rollout that the risk model was not fitted to says about it and the gate."""

    auroc: float
    """Area under the receiver operating characteristic of the risk; not a number where one class was absent."""
    brier_skill: float
    """Brier skill score of the risk against the rollout's own base rate, see `rrl.risk.metrics.brier_skill_score`."""
    open_fraction: float
    """Share of the states in which the gate stood open, exploration excluded."""


class ThresholdRule(ABC):
    """Settings: how the threshold of the gate is set after each fit of the risk model."""

    @abstractmethod
    def update(self, gate: RiskGate, risk: Tensor, *, base_rate: float, evidence: GateEvidence | None) -> None:
        """Set what rules the next rollout; arguments as in `RiskGate.update`."""


@dataclass(frozen=True, kw_only=True)
class FixedThreshold(ThresholdRule):
    """One risk for good, as in the paper."""

    threshold: float = 0.2
    """Risk above which the gate opens, in ``[0, 1]``. The paper does not state it."""

    def __post_init__(self) -> None:
        require_within("[0, 1]", threshold=self.threshold)

    def update(self, gate: RiskGate, risk: Tensor, *, base_rate: float, evidence: GateEvidence | None) -> None:
        """Set the threshold."""
        gate.threshold.fill_(self.threshold)


@dataclass(frozen=True, kw_only=True)
class BaseRateThreshold(ThresholdRule):
    """The base rate of the labels."""

    def update(self, gate: RiskGate, risk: Tensor, *, base_rate: float, evidence: GateEvidence | None) -> None:
        """Set the threshold."""
        gate.threshold.fill_(base_rate)


@dataclass(frozen=True, kw_only=True)
class Budget(ThresholdRule):
    """The risk that a given share of the latest states exceeds."""

    budget: float = 0.5
    """Share of the states in which the adversary may push, in ``[0, 1]``."""

    def __post_init__(self) -> None:
        require_within("[0, 1]", budget=self.budget)

    def update(self, gate: RiskGate, risk: Tensor, *, base_rate: float, evidence: GateEvidence | None) -> None:
        """Set the threshold, and how states exactly at it are treated."""
        if gate.requested_fraction.isnan():
            gate.requested_fraction.fill_(self.budget)
        threshold, tie_probability = budget_threshold(risk, float(gate.requested_fraction))
        gate.threshold.copy_(threshold)
        gate.tie_probability.copy_(tie_probability)


@dataclass(frozen=True, kw_only=True)
class AdaptiveBudget(Budget):
    r"""A budget corrected by the open fraction that was really seen, and overruled where the risk has no skill.

    With skill :math:`\kappa` from 0 to 1, a state that the threshold shuts is opened with probability
    :math:`1 - \kappa`. Without evidence, as at the first fit, there is no skill.
    """

    skill_range: tuple[float, float] = (0.6, 0.8)
    """AUROC of no skill and of full skill, between which the skill rises linearly. A risk whose Brier score is no
    better than the base rate's has no skill whatever its AUROC."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.5 <= self.skill_range[0] < self.skill_range[1] <= 1.0:
            raise ValueError(f"`skill_range` must be ascending within [0.5, 1], got {self.skill_range}.")

    def skill(self, evidence: GateEvidence) -> float:
        """Judge from data that the risk model has not seen how far it can be trusted, from 0 to 1.

        Example:
            >>> evidence = GateEvidence(auroc=0.75, brier_skill=0.1, open_fraction=0.5)
            >>> AdaptiveBudget(skill_range=(0.5, 1.0)).skill(evidence)
            0.5
        """
        if math.isnan(evidence.auroc) or not evidence.brier_skill > 0.0:
            return 0.0
        low, high = self.skill_range
        return min(max((evidence.auroc - low) / (high - low), 0.0), 1.0)

    def update(self, gate: RiskGate, risk: Tensor, *, base_rate: float, evidence: GateEvidence | None) -> None:
        """Correct the requested fraction by what was seen, then set threshold and skill."""
        if evidence is not None and gate.fitted:
            expected = 1.0 - float(gate.skill) * (1.0 - self.budget)
            gate.requested_fraction += BUDGET_GAIN * (expected - evidence.open_fraction)
            # Bounded, or a long time without skill would wind the correction up.
            gate.requested_fraction.clamp_(0.5 * self.budget, 0.5 * (self.budget + 1.0))
        gate.skill.fill_(0.0 if evidence is None else self.skill(evidence))
        super().update(gate, risk, base_rate=base_rate, evidence=evidence)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Where the adversary may push. The paper's: ``rule: FixedThreshold``, ``exploration=0``."""

    rule: ThresholdRule = Budget()
    """How the threshold is set."""
    exploration: float = 0.05
    """Probability that a state is open whatever its risk, in ``[0, 1]``; ``0`` in the paper, 1 is plain RARL."""
    signal: Literal["calibrated", "raw", "constant", "uncertain"] = "calibrated"
    """What the gate looks at. ``raw`` is the gate without calibration; ``constant`` opens at random with the same
    budget: controls that tell what calibration and risk contribute. ``uncertain`` is the variance of the failure,
    :math:`4 r (1 - r)`: it opens where the outcome is open."""
    min_open_steps: int = 500
    """The adversary's policy is left alone on a rollout with fewer open steps."""

    def __post_init__(self) -> None:
        require_within("[0, 1]", exploration=self.exploration)
        require_one_of(("calibrated", "raw", "constant", "uncertain"), signal=self.signal)
        if self.signal == "constant" and not isinstance(self.rule, Budget):
            raise ValueError("`signal` 'constant' needs a `rule` with a budget: `Budget` or `AdaptiveBudget`.")
        require_at_least(1, min_open_steps=self.min_open_steps)


class RiskGate(nn.Module):
    r"""Decides in which states the adversary may push.

    .. math::
        \text{open}(s) = \mathbb{1}[\hat r(s) > \tau] \quad \text{or} \quad \text{explored}

    The threshold :math:`\tau` is set by `update` after each fit of the risk model; until the first one the gate is open
    everywhere, which is plain RARL. A shut gate causes fewer failures, and fewer failures shut the gate further:
    exploration keeps the risk model supplied with pushed states.

    Binned risks take few values. So that a budget is met all the same, states exactly at its threshold are opened at
    random. Given one constant as the risk of every state, this is the random gate of the same budget.

    Example:
        >>> gate = RiskGate(Gate(rule=FixedThreshold(threshold=0.2), exploration=0.0))
        >>> risk, uniforms = torch.tensor([0.1, 0.2, 0.3]), torch.full((3,), 0.5)
        >>> gate.update(risk, base_rate=0.2)
        >>> gate(risk, uniforms)
        tensor([False, False,  True])

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, section 3.4. All but
        `FixedThreshold` is ours, after their section 7 ("dynamically adjusting the gating threshold").
    """

    fitted: Tensor
    """True after the first update; open everywhere before. Boolean scalar."""
    threshold: Tensor
    """Risk above which the gate opens. Scalar, float64."""
    tie_probability: Tensor
    """Probability that a state exactly at the threshold is open. Scalar, float64."""
    skill: Tensor
    """Trust in the threshold, from 0 (open everywhere) to 1. Scalar, float64."""
    requested_fraction: Tensor
    """Share of the latest states to open: the budget, perhaps corrected; not a number without one. Scalar, float64."""

    def __init__(self, settings: Gate) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("fitted", torch.tensor(False))
        initial = {"threshold": 0.0, "tie_probability": 0.0, "skill": 1.0, "requested_fraction": math.nan}
        for name, value in initial.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    @torch.no_grad()
    def forward(self, risk: Tensor, uniforms: Tensor) -> Tensor:
        """Decide for risks in ``[0, 1]`` of any shape where the adversary may push; monotone for given draws.

        ``uniforms`` holds a draw from ``[0, 1)`` for each state, from the stream of its world.
        """
        if risk.shape != uniforms.shape:
            raise ValueError(f"`uniforms` must have shape {list(risk.shape)}, got {list(uniforms.shape)}.")
        # A draw is below 1 and not below 0: probabilities 0 and 1 are exact.
        return uniforms >= self.shut_probability(risk)

    @torch.no_grad()
    def shut_probability(self, risk: Tensor) -> Tensor:
        """Return the probability with which the gate is shut, exploration included; 0 before the first fit."""
        _check_risk(risk)
        if not self.fitted:
            return torch.zeros_like(risk)
        # Comparing in the precision of the risk keeps a risk that equals the threshold equal to it.
        threshold = self.threshold.to(risk)
        shut = torch.where(risk == threshold, 1.0 - self.tie_probability.to(risk), (risk < threshold).to(risk))
        return (1.0 - self.settings.exploration) * self.skill.to(risk) * shut

    def explored(self, uniforms: Tensor) -> Tensor:
        """Tell which states the draws given to ``forward`` open whatever their risk; the budget does not count them."""
        return uniforms >= 1.0 - self.settings.exploration

    @torch.no_grad()
    def update(self, risk: Tensor, *, base_rate: float, evidence: GateEvidence | None = None) -> None:
        """Set the threshold for the next rollout, after a fit of the risk model.

        ``risk`` holds the risks ``[M]``, ``M >= 1``, of the latest states under the model just fitted, ``base_rate`` is
        the share of failures, in ``[0, 1]``, among the labels that it was fitted to.
        """
        if risk.ndim != 1 or risk.numel() == 0:
            raise ValueError(f"`risk` must have shape [M] with M >= 1, got {list(risk.shape)}.")
        _check_risk(risk)
        require_within("[0, 1]", base_rate=base_rate)
        self.settings.rule.update(self, risk, base_rate=base_rate, evidence=evidence)
        self.fitted.fill_(True)


def budget_threshold(risk: Tensor, budget: float) -> tuple[Tensor, Tensor]:
    """Find the risk that a share of the states exceeds, and the probability with which those exactly at it are open.

    Example:
        >>> budget_threshold(torch.tensor([0.1, 0.1, 0.1, 0.9]), budget=0.5)
        (tensor(0.1000), tensor(0.3333, dtype=torch.float64))
    """
    num_open = budget * risk.numel()
    threshold = risk.sort(descending=True).values[min(math.floor(num_open), risk.numel() - 1)]
    above, ties = (risk > threshold).sum(), (risk == threshold).sum()
    return threshold, ((num_open - above.double()) / ties).clamp(0.0, 1.0)


def _check_risk(risk: Tensor) -> None:
    if not ((risk >= 0.0) & (risk <= 1.0)).all():
        raise ValueError("`risk` must lie in [0, 1], got a value outside or not a number.")
