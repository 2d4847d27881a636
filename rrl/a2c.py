"""The policy update of AD-RRL's paper: an A2C step whose length is controlled by how far it changes the policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn.utils import clip_grad_norm_, parameters_to_vector

from rrl.checks import require_not_negative, require_positive
from rrl.distributed import all_reduce_sum
from rrl.policies import GaussianPolicy
from rrl.trpo import (
    TrustRegionStep,
    assign,
    backtracking_line_search,
    entropy_bonus,
    sample_shares,
    surrogate_objective,
)

BACKTRACK_RATIO = 0.8
"""Factor between two lengths that are tried; that of the published code."""
MAX_BACKTRACKS = 50
"""Lengths that are tried; as many as in the published code."""
MAX_GRADIENT_NORM = 0.1
"""Longest gradient of the network of the mean action; that of the published code, which does not clip the spread's."""


@dataclass(frozen=True, kw_only=True)
class A2C:
    """The policy update of the paper: one controlled step of AdamW."""

    learning_rate: float = 3e-5
    """Largest step size; ``3e-5`` in the paper."""
    entropy_weight: float = 1e-5
    """Weight of the policy's entropy, in standardised advantages per nat; ``1e-5`` in the paper."""
    log_prob_change: float = 0.01
    """Bound on the mean change of the log probabilities of the actions, in nats; ``0.01`` in the published code."""

    def __post_init__(self) -> None:
        require_positive(learning_rate=self.learning_rate, log_prob_change=self.log_prob_change)
        require_not_negative(entropy_weight=self.entropy_weight)


class GradientOptimizer(Protocol):
    """An optimiser of the policy's parameters: torch's, or the same as Lightning wraps it."""

    def step(self, closure: Callable[[], Any]) -> Any:
        """Call the closure, which leaves gradients behind, and step along them."""
        ...


def policy_gradient_objective(
    distribution: Independent[Normal], actions: Tensor, advantages: Tensor, shares: Tensor, *, entropy_weight: float
) -> Tensor:
    r"""Compute what A2C climbs: its gradient is :math:`\sum_n w_n (A_n \nabla \ln \pi(a_n | o_n) + c \nabla H_n)`.

    Args:
        distribution: The policy at each sample. Batch shape ``[N]``, event shape ``[A]``.
        actions: Actions taken. Shape ``[N, A]``.
        advantages: Shape ``[N]``.
        shares: Share of each sample; the shares of all ranks add to one. Shape ``[N]``.
        entropy_weight: Weight :math:`c` of the policy's entropy, in advantages per nat.

    Returns:
        Scalar: this rank's part of the sum, the surrogate objective at the policy itself plus the bonus.

    Example:
        >>> policy = Independent(Normal(torch.zeros(2, 1), torch.ones(2, 1)), 1)
        >>> rest = (torch.zeros(2, 1), torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5]))
        >>> policy_gradient_objective(policy, *rest, entropy_weight=0.0)
        tensor(2.)

    References:
        Mnih et al., "Asynchronous methods for deep reinforcement learning", ICML 2016, section 4.
    """
    log_probs = distribution.log_prob(actions)
    surrogate = surrogate_objective(log_probs - log_probs.detach(), advantages, shares)
    return surrogate + entropy_bonus(distribution, shares, entropy_weight)


@torch.no_grad()
def a2c_step(
    policy: GaussianPolicy,
    observations: Tensor,
    actions: Tensor,
    advantages: Tensor,
    weights: Tensor,
    settings: A2C,
    optimizer: GradientOptimizer,
) -> TrustRegionStep:
    r"""Improve a policy by one controlled gradient step, in place.

    The optimiser takes its full step, which is then shortened by powers of ``0.8`` until the mean change of the log
    probabilities of the actions, :math:`\sum_n w_n |\ln \pi_{new}(a_n) - \ln \pi_{old}(a_n)|`, is at most
    ``log_prob_change``. Where no length does, every parameter is restored bit for bit. Ranks share one step: gradient
    and change are summed over them.

    The paper gives step size and entropy weight, but no control. The published code (PolyGRAD's, which AD-RRL uses)
    has two: it multiplies or divides the learning rate by ``0.8`` until the change is within 20 % of its target or the
    rate at its maximum, and slowly adapts the rate with which the next search begins. Searching downwards from the
    maximum, as here, ends in the same range without a state. The code calls its optimiser anew for every length, which
    wears on Adam's moments, and leaves the spread out of what it restores; here one step is scaled as a whole.

    Args:
        policy: Its parameters change in place.
        observations: Normalised observations. Shape ``[N, O]``.
        actions: Actions taken in them. Shape ``[N, A]``.
        advantages: Their advantages, usually standardised. Shape ``[N]``.
        weights: Non-negative weight of each sample, any scale; zeros exclude samples. Shape ``[N]``.
        settings: Entropy weight, and bound on the change.
        optimizer: Of the policy's parameters, with a step proportional to its learning rate, such as ``AdamW``.

    Returns:
        What the step did; ``step_fraction`` is that of the optimiser's full step.

    Raises:
        ValueError: If no sample has a positive weight.
        FloatingPointError: If the gradient is not finite.

    References:
        Foffano et al., "Adversarial diffusion for robust reinforcement learning", NeurIPS 2025, table 2. Rigter et
        al., "World models via policy-guided trajectory diffusion" (PolyGRAD), TMLR 2024.
    """
    shares = sample_shares(weights)
    parameters = list(policy.parameters())
    old_parameters = parameters_to_vector(parameters)
    old_distribution = policy(observations)
    old_log_probs = old_distribution.log_prob(actions)

    @torch.enable_grad()
    def climb() -> Tensor:
        objective = policy_gradient_objective(
            policy(observations), actions, advantages, shares, entropy_weight=settings.entropy_weight
        )
        _set_gradients(policy, -objective)
        return objective.detach()

    optimizer.step(closure=climb)
    full_step = parameters_to_vector(parameters) - old_parameters
    outcome = torch.zeros(3)

    def is_acceptable(fraction: float) -> bool:
        nonlocal outcome
        assign(old_parameters + fraction * full_step, parameters)
        distribution = policy(observations)
        log_ratio = distribution.log_prob(actions) - old_log_probs
        rise = surrogate_objective(log_ratio, advantages, shares) - (shares * advantages).sum()
        divergence = (shares * kl_divergence(old_distribution, distribution)).sum()
        outcome = all_reduce_sum(torch.stack([rise, divergence, (shares * log_ratio.abs()).sum()])).double().cpu()
        return bool(outcome[2] <= settings.log_prob_change)

    fraction = backtracking_line_search(is_acceptable, backtrack_ratio=BACKTRACK_RATIO, max_backtracks=MAX_BACKTRACKS)
    if fraction == 0.0:
        assign(old_parameters, parameters)
        return TrustRegionStep(0.0, 0.0, 0.0)
    return TrustRegionStep(float(outcome[0]), float(outcome[1]), fraction)


def _set_gradients(policy: GaussianPolicy, loss: Tensor) -> None:
    """Leave the gradients of a loss, summed over the ranks and clipped, at the policy's parameters."""
    parameters = list(policy.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    flat = all_reduce_sum(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    if not torch.isfinite(flat).all():
        raise FloatingPointError("the policy gradient is not finite.")
    for parameter, part in zip(parameters, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        parameter.grad = part.view_as(parameter)
    clip_grad_norm_(policy.mean.parameters(), MAX_GRADIENT_NORM)
