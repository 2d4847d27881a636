"""The gate: from the calibrated risk of a state to whether the adversary may push in it."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

BUDGET_GAIN = 0.5
"""Share of the budget error that the adaptive gate corrects at each update; 1 would chase the noise of one rollout."""


class GateEvidence(NamedTuple):
    """What the rollout just collected says about the gate and the risk model that ruled it.

    The risk model must not have been fitted to this rollout.
    """

    auroc: float
    """Area under the receiver operating characteristic of the risk; not a number where one class was absent."""
    brier_skill: float
    """Brier skill score of the risk against the rollout's own base rate, see `rrl.risk.metrics.brier_skill_score`."""
    open_fraction: float
    """Share of the states in which the gate stood open, exploration excluded."""


class RiskGate(nn.Module):
    r"""Decides in which states the adversary may push.

    .. math::
        \text{open}(s) = \mathbb{1}[\hat r(s) > \tau] \quad \text{or} \quad \text{explored}

    The threshold :math:`\tau` is set by `update` after each fit of the risk model; until the first one the gate is open
    everywhere, which is plain RARL. A shut gate causes fewer failures, and fewer failures shut the gate further:
    exploration keeps the risk model supplied with pushed states.

    Binned risks take few values. So that a budget is met all the same, states exactly at the threshold of the modes
    ``quantile`` and ``adaptive`` are opened at random, with the probability that meets it.
    Given one constant as the risk of every state, ``quantile`` hence is the random gate of the same budget: the control
    that tells what the risk contributes.

    Args:
        mode: ``"fixed"``: :math:`\tau` is the given threshold, as in the paper; ``"base_rate"``: the base rate of the
            labels; ``"quantile"``: the value that the share ``budget`` of the latest states exceeds;
            ``"adaptive"``: the quantile, corrected by the open fraction that was really seen, and overruled where the
            risk has no skill: with skill :math:`\kappa` from 0 to 1, a state that the threshold shuts is opened with
            probability :math:`1 - \kappa`.
        threshold: Risk above which ``fixed`` opens, in ``[0, 1]``. The paper does not state it.
        budget: Share of the states in which the adversary may push (``quantile``, ``adaptive``), in ``[0, 1]``.
        exploration: Probability that a state is open whatever its risk, in ``[0, 1]``; ``0`` in the paper.
        skill_range: AUROC of no skill and of full skill, between which :math:`\kappa` rises linearly
            (``adaptive``). A risk whose Brier score is no better than the base rate's has no skill whatever its AUROC.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> gate = RiskGate("fixed", threshold=0.2, exploration=0.0)
        >>> risk, uniforms = torch.tensor([0.1, 0.2, 0.3]), torch.full((3,), 0.5)
        >>> gate(risk, uniforms)
        tensor([True, True, True])
        >>> gate.update(risk, base_rate=0.2)
        >>> gate(risk, uniforms)
        tensor([False, False,  True])

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, section 3.4. All but ``fixed``
        is ours, after their section 7 ("dynamically adjusting the gating threshold").
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
    """Share of the latest states to open: the budget, corrected in mode ``adaptive``. Scalar, float64."""

    def __init__(
        self,
        mode: Literal["fixed", "base_rate", "quantile", "adaptive"] = "quantile",
        *,
        threshold: float = 0.2,
        budget: float = 0.5,
        exploration: float = 0.05,
        skill_range: tuple[float, float] = (0.6, 0.8),
    ) -> None:
        super().__init__()
        if mode not in {"fixed", "base_rate", "quantile", "adaptive"}:
            raise ValueError(f"`mode` must be 'fixed', 'base_rate', 'quantile' or 'adaptive', got {mode!r}.")
        for name, value in (("threshold", threshold), ("budget", budget), ("exploration", exploration)):
            _check_share(name, value)
        if not 0.5 <= skill_range[0] < skill_range[1] <= 1.0:
            raise ValueError(f"`skill_range` must be ascending within [0.5, 1], got {skill_range}.")
        self.mode = mode
        self.budget = budget
        self.exploration = exploration
        self.skill_range = skill_range
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float64))
        self.register_buffer("tie_probability", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("skill", torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("requested_fraction", torch.tensor(budget, dtype=torch.float64))

    @torch.no_grad()
    def forward(self, risk: Tensor, uniforms: Tensor) -> Tensor:
        """Decide for each state; monotone in the risk for given draws.

        Args:
            risk: Calibrated risks, in ``[0, 1]``. Any shape.
            uniforms: Uniform draws from ``[0, 1)``, one for each state from the stream of its world. Shape of ``risk``.

        Returns:
            True where the adversary may push. Boolean, shape of ``risk``.

        Raises:
            ValueError: If a risk is not in ``[0, 1]`` or the shapes differ.
        """
        if risk.shape != uniforms.shape:
            raise ValueError(f"`uniforms` must have shape {list(risk.shape)}, got {list(uniforms.shape)}.")
        # A draw is below 1 and not below 0: probabilities 0 and 1 are exact.
        return uniforms >= self.shut_probability(risk)

    @torch.no_grad()
    def shut_probability(self, risk: Tensor) -> Tensor:
        """Return the probability with which the gate is shut, exploration included.

        Args:
            risk: Calibrated risks, in ``[0, 1]``. Any shape.

        Returns:
            Probabilities; 0 before the first fit. Shape and type of ``risk``.

        Raises:
            ValueError: If a risk is not in ``[0, 1]``.
        """
        _check_risk(risk)
        if not self.fitted:
            return torch.zeros_like(risk)
        # Comparing in the precision of the risk keeps a risk that equals the threshold equal to it.
        threshold = self.threshold.to(risk)
        shut = torch.where(risk == threshold, 1.0 - self.tie_probability.to(risk), (risk < threshold).to(risk))
        return (1.0 - self.exploration) * self.skill.to(risk) * shut

    def explored(self, uniforms: Tensor) -> Tensor:
        """Tell which states these draws open whatever their risk; the budget does not count them.

        Args:
            uniforms: The draws given to ``forward``.

        Returns:
            True where the state is open for exploration. Boolean, shape of ``uniforms``.
        """
        return uniforms >= 1.0 - self.exploration

    @torch.no_grad()
    def update(self, risk: Tensor, *, base_rate: float, evidence: GateEvidence | None = None) -> None:
        """Set the threshold for the next rollout, after a fit of the risk model.

        Args:
            risk: Risks of the latest states under the model just fitted. Shape ``[M]``, ``M >= 1``.
            base_rate: Share of failures among the labels that the model was fitted to, in ``[0, 1]``.
            evidence: What the rollout just collected showed; only ``adaptive`` looks at it. Without evidence, as at the
                first fit, ``adaptive`` assumes no skill and stays open.

        Raises:
            ValueError: If there are no states, a risk is not in ``[0, 1]``, or ``base_rate`` is not.
        """
        if risk.ndim != 1 or risk.numel() == 0:
            raise ValueError(f"`risk` must have shape [M] with M >= 1, got {list(risk.shape)}.")
        _check_risk(risk)
        _check_share("base_rate", base_rate)
        if self.mode == "adaptive":
            self._adapt(evidence)
        if self.mode == "base_rate":
            self.threshold.fill_(base_rate)
        elif self.mode != "fixed":
            threshold, tie_probability = budget_threshold(risk, float(self.requested_fraction))
            self.threshold.copy_(threshold)
            self.tie_probability.copy_(tie_probability)
        self.fitted.fill_(True)

    def _adapt(self, evidence: GateEvidence | None) -> None:
        """Correct the requested fraction by what was seen, then set the skill for the next rollout."""
        if evidence is not None and self.fitted:
            expected = 1.0 - float(self.skill) * (1.0 - self.budget)
            self.requested_fraction += BUDGET_GAIN * (expected - evidence.open_fraction)
            # Bounded, or a long time without skill would wind the correction up.
            self.requested_fraction.clamp_(0.5 * self.budget, 0.5 * (self.budget + 1.0))
        self.skill.fill_(0.0 if evidence is None else risk_skill(evidence, self.skill_range))


class BudgetThreshold(NamedTuple):
    """A threshold that opens a given share of the states."""

    threshold: Tensor
    """One of the risks: states above it are open. Scalar."""
    tie_probability: Tensor
    """Probability with which a state exactly at the threshold is open. Scalar, float64."""


def budget_threshold(risk: Tensor, budget: float) -> BudgetThreshold:
    """Find the threshold that the riskiest share of the states exceeds, ties included.

    Args:
        risk: Risks. Shape ``[M]``, ``M >= 1``.
        budget: Share of the states to open, in ``[0, 1]``.

    Returns:
        The threshold, and the probability that makes up for the states exactly at it.

    Example:
        >>> budget_threshold(torch.tensor([0.1, 0.1, 0.1, 0.9]), budget=0.5)
        BudgetThreshold(threshold=tensor(0.1000), tie_probability=tensor(0.3333, dtype=torch.float64))
    """
    num_open = budget * risk.numel()
    threshold = risk.sort(descending=True).values[min(math.floor(num_open), risk.numel() - 1)]
    above, ties = (risk > threshold).sum(), (risk == threshold).sum()
    return BudgetThreshold(threshold, ((num_open - above.double()) / ties).clamp(0.0, 1.0))


def risk_skill(evidence: GateEvidence, skill_range: tuple[float, float]) -> float:
    """Judge from data that the risk model has not seen how far it can be trusted.

    Args:
        evidence: Discrimination and calibration on the latest rollout.
        skill_range: AUROC of no skill and of full skill.

    Returns:
        0 where the AUROC is undefined or at most the lower bound or the Brier skill is not positive, 1 from the upper
        bound on, linear between.

    Example:
        >>> risk_skill(GateEvidence(auroc=0.75, brier_skill=0.1, open_fraction=0.5), (0.5, 1.0))
        0.5
    """
    low, high = skill_range
    if math.isnan(evidence.auroc) or not evidence.brier_skill > 0.0:
        return 0.0
    return min(max((evidence.auroc - low) / (high - low), 0.0), 1.0)


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"`{name}` must lie in [0, 1], got {value}.")


def _check_risk(risk: Tensor) -> None:
    if not ((risk >= 0.0) & (risk <= 1.0)).all():
        raise ValueError("`risk` must lie in [0, 1], got a value outside or not a number.")
