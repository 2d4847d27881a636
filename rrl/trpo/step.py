"""The TRPO step: the natural gradient of the surrogate, scaled to the trust region, then a line search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn.utils import parameters_to_vector

from rrl.distributed import all_reduce_sum
from rrl.trpo.conjugate_gradient import conjugate_gradient
from rrl.trpo.trust_region import TrustRegion


def backtracking_line_search(
    is_acceptable: Callable[[float], bool], *, backtrack_ratio: float, max_backtracks: int
) -> float:
    """Find the longest acceptable fraction of a step, ``backtrack_ratio**k``; 0 where no ``k < max_backtracks`` is.

    Example:
        >>> backtracking_line_search(lambda fraction: fraction < 0.3, backtrack_ratio=0.5, max_backtracks=10)
        0.25
        >>> backtracking_line_search(lambda fraction: False, backtrack_ratio=0.5, max_backtracks=10)
        0.0
    """
    for attempt in range(max_backtracks):
        fraction = backtrack_ratio**attempt
        if is_acceptable(fraction):
            return fraction
    return 0.0


class TrustRegionStep(NamedTuple):
    """What one step did."""

    surrogate: float
    """Rise of the objective, in standardised advantages; 0 where the step was rejected."""
    kl_divergence: float
    """Mean KL divergence from the old to the new policy, in nats; 0 where the step was rejected."""
    step_fraction: float
    """Accepted fraction of the full natural-gradient step; 0 where it was rejected."""


def surrogate_objective(log_ratio: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    r"""Compute the importance-weighted mean advantage, :math:`\sum_n w_n e^{\ell_n} A_n`.

    The log-ratio is that of each action's probability under the new policy to that under the old, the weights are the
    samples' shares, all of shape ``[N]``. The result is this rank's part of the sum.

    Example:
        >>> shares = torch.tensor([0.5, 0.5])
        >>> surrogate_objective(torch.zeros(2), torch.tensor([1.0, 3.0]), shares)
        tensor(2.)

    References:
        Schulman et al., "Trust region policy optimization", ICML 2015, eq. 14.
    """
    return (weights * log_ratio.exp() * advantages).sum()


def hold_spread(distribution: Independent[Normal], held: Tensor, reference: Independent[Normal]) -> Independent[Normal]:
    """Give the samples that are held, boolean ``[N]``, the spread of a reference distribution.

    Example:
        >>> narrow, wide = (Independent(Normal(torch.zeros(2, 1), torch.full((2, 1), s)), 1) for s in (0.5, 2.0))
        >>> hold_spread(narrow, torch.tensor([False, True]), wide).stddev.flatten()
        tensor([0.5000, 2.0000])
    """
    own, other = distribution.base_dist, reference.base_dist
    scale = torch.where(held[:, None], other.scale, own.scale)
    return Independent(Normal(own.loc, scale, validate_args=False), 1, validate_args=False)


def entropy_bonus(distribution: Independent[Normal], shares: Tensor, entropy_weight: float) -> Tensor:
    r"""Weigh the mean entropy of a policy, :math:`c \sum_n w_n H_n`.

    The distribution has batch shape ``[N]``; :math:`c` is in advantages per nat. The result is this rank's part of the
    sum.

    Example:
        >>> policy = Independent(Normal(torch.zeros(2, 1), torch.ones(2, 1)), 1)
        >>> entropy_bonus(policy, torch.tensor([0.5, 0.5]), 0.1)
        tensor(0.1419)

    References:
        Mnih et al., "Asynchronous methods for deep reinforcement learning", ICML 2016, section 4.
    """
    entropy: Tensor = (shares * distribution.entropy()).sum()
    return entropy_weight * entropy


def sample_shares(weights: Tensor) -> Tensor:
    """Scale weights ``[N]``, not negative and not all zero, so that those of all ranks add to one.

    Example:
        >>> sample_shares(torch.tensor([3.0, 0.0, 1.0]))
        tensor([0.7500, 0.0000, 0.2500])
    """
    total = float(all_reduce_sum(weights.sum()))
    if not total > 0.0:
        raise ValueError(f"at least one sample must have a positive weight, got a total of {total}.")
    return weights / total


class TrustRegionPolicy(Protocol):
    """A stochastic policy whose curvature is known."""

    def __call__(self, observations: Tensor) -> Independent[Normal]:
        """Return the distribution of actions. Observations are normalised, shape ``[N, O]``."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return what a step may change."""
        ...

    def fisher_product(self, observations: Tensor, shares: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with the Hessian of the KL divergence, summed over samples with these shares."""
        ...


@torch.no_grad()
def assign(vector: Tensor, parameters: Iterable[nn.Parameter]) -> None:
    """Copy a vector into parameters, which stay where they are.

    PyTorch's own function makes them views of the vector, aligned by chance: after a checkpoint has been loaded the
    last bit of a product may then differ.
    """
    offset = 0
    for parameter in parameters:
        parameter.copy_(vector[offset : offset + parameter.numel()].view_as(parameter))
        offset += parameter.numel()


@torch.no_grad()
def trpo_step(
    policy: TrustRegionPolicy,
    observations: Tensor,
    actions: Tensor,
    advantages: Tensor,
    weights: Tensor,
    region: TrustRegion,
    *,
    held: Tensor | None = None,
) -> TrustRegionStep:
    r"""Improve a policy by one constrained step, in place.

    Solves :math:`\max_\theta \sum_n w_n (\frac{\pi_\theta}{\pi_{old}} A_n + c H(\pi_\theta))` subject to a mean KL
    divergence of at most :math:`\delta`: the step :math:`\sqrt{2 \delta / x^T F x}\, x` with :math:`F x = g` by
    conjugate gradients, shortened until the objective rises and the divergence respects its bound. Where none does,
    every parameter is restored bit for bit. Ranks share one step: gradient, Fisher products, objective and divergence
    are summed over them.

    Observations ``[N, O]`` are normalised, advantages ``[N]`` usually standardised, weights ``[N]`` of any scale; zeros
    exclude samples; those ``held``, boolean ``[N]``, teach the policy's mean and not its spread. :math:`\delta` is the
    bound of the region times the number of action dimensions.

    Raises:
        ValueError: If no sample has a positive weight.
        FloatingPointError: If objective or gradient are not finite.

    References:
        Schulman et al., "Trust region policy optimization", ICML 2015, section 6 and appendix C.
    """
    num_dimensions, entropy_weight = actions.shape[-1], region.entropy_weight
    max_kl = region.max_kl * num_dimensions
    shares, parameters = sample_shares(weights), list(policy.parameters())
    old_distribution = _frozen(policy(observations))
    old_log_probs = old_distribution.log_prob(actions)

    def objective(distribution: Independent[Normal]) -> Tensor:
        judged = distribution if held is None else hold_spread(distribution, held, old_distribution)
        log_ratio = judged.log_prob(actions) - old_log_probs
        return surrogate_objective(log_ratio, advantages, shares) + entropy_bonus(distribution, shares, entropy_weight)

    with torch.enable_grad():
        gradient = _flat_gradient(objective(policy(observations)), parameters)
    gradient = all_reduce_sum(gradient)
    if not torch.isfinite(gradient).all():
        raise FloatingPointError("the policy gradient is not finite.")
    fisher = policy.fisher_product(*_subsample(observations, weights, region.fisher_fraction))
    full_step = _natural_step(fisher, gradient, max_kl, region.cg_iterations, region.cg_damping * num_dimensions)

    old_parameters = parameters_to_vector(parameters).clone()
    old_bonus = entropy_bonus(old_distribution, shares, entropy_weight)
    old_objective = all_reduce_sum((shares * advantages).sum() + old_bonus)
    outcome = torch.zeros(2)

    def is_acceptable(fraction: float) -> bool:
        nonlocal outcome
        assign(old_parameters + fraction * full_step, parameters)
        distribution = policy(observations)
        divergence = (shares * kl_divergence(old_distribution, distribution)).sum()
        # One transfer to the host a try; all ranks see the same sums, so all decide alike.
        outcome = all_reduce_sum(torch.stack([objective(distribution), divergence])).double().cpu()
        return bool(outcome[0] > old_objective) and bool(outcome[1] <= max_kl)

    fraction = backtracking_line_search(
        is_acceptable, backtrack_ratio=region.backtrack_ratio, max_backtracks=region.max_backtracks
    )
    if fraction == 0.0:
        assign(old_parameters, parameters)
        return TrustRegionStep(0.0, 0.0, 0.0)
    return TrustRegionStep(float(outcome[0] - old_objective), float(outcome[1]), fraction)


def _subsample(observations: Tensor, weights: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Draw a share of the samples; return their observations and their shares among themselves, over all ranks."""
    if fraction < 1.0:
        chosen = torch.randperm(len(weights), device=weights.device)[: max(round(fraction * len(weights)), 1)]
        observations, weights = observations[chosen], weights[chosen]
    total = all_reduce_sum(weights.sum())
    # All chosen weights can be zero; then the Fisher matrix is zero too and the damping alone remains.
    return observations, weights / total.clamp(min=torch.finfo(weights.dtype).tiny)


def _natural_step(
    fisher: Callable[[Tensor], Tensor], gradient: Tensor, max_kl: float, cg_iterations: int, cg_damping: float
) -> Tensor:
    """Scale the natural gradient so that the quadratic model of the divergence equals ``max_kl``."""

    def damped(vector: Tensor) -> Tensor:
        return all_reduce_sum(fisher(vector)) + cg_damping * vector

    direction = conjugate_gradient(damped, gradient, iterations=cg_iterations)
    curvature = direction @ damped(direction)
    # A zero gradient has no direction; the guard turns 0 / 0 into a zero step, which the line search rejects.
    tiny = torch.finfo(curvature.dtype).tiny
    return torch.sqrt(2.0 * max_kl / curvature.clamp(min=tiny)) * direction


def _frozen(distribution: Independent[Normal]) -> Independent[Normal]:
    base = distribution.base_dist
    copy = Normal(base.loc.detach().clone(), base.scale.detach().clone(), validate_args=False)
    return Independent(copy, 1, validate_args=False)


def _flat_gradient(value: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    return torch.cat([gradient.reshape(-1) for gradient in torch.autograd.grad(value, parameters)])
