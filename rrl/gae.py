"""Generalised advantage estimation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AdvantageEstimate(NamedTuple):
    """Advantages and the value targets that belong to them, in units of reward. Shape ``[T, N]``."""

    advantages: Tensor
    value_targets: Tensor
    """TD(lambda) targets for the value function, ``advantages + values``."""


def generalized_advantage_estimation(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> AdvantageEstimate:
    r"""Estimate advantages by an exponentially weighted sum of temporal-difference errors.

    .. math::
        \delta_t = r_t + \gamma (1 - d_t) V(s'_t) - V(s_t), \qquad
        A_t = \delta_t + \gamma \lambda (1 - d_t) (1 - u_t) A_{t+1}

    with :math:`d_t` for ``terminated``, :math:`u_t` for ``truncated`` and :math:`s'_t` the observation after the step,
    before any reset. A time limit therefore cuts the sum but keeps the value of what would have followed, and the last
    step of the rollout is bootstrapped in the same way.

    All tensors have shape ``[T, N]``; ``next_values`` are :math:`V(s'_t)`. For :math:`\lambda = 0` this is the error of
    one step, for 1 the Monte-Carlo return less the value.

    Example:
        >>> reward, no = torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.bool)
        >>> over = torch.tensor([[False], [True]])
        >>> zero = torch.zeros(2, 1)
        >>> estimate = generalized_advantage_estimation(reward, zero, zero, over, no, gamma=0.5, gae_lambda=1.0)
        >>> estimate.advantages.squeeze(1)
        tensor([1.5000, 1.0000])

    References:
        Schulman et al., "High-dimensional continuous control using generalized advantage estimation", ICLR 2016,
        eq. 16. The paper has no time limits; the treatment of ``truncated`` follows Pardo et al., "Time limits in
        reinforcement learning", ICML 2018.
    """
    shapes = {tuple(tensor.shape) for tensor in (rewards, values, next_values, terminated, truncated)}
    if len(shapes) != 1 or rewards.ndim != 2:
        raise ValueError(f"all inputs must have one shape [T, N], got {sorted(shapes)}.")

    continues, unbroken = (~terminated).to(rewards), (~(terminated | truncated)).to(rewards)
    deltas = rewards + gamma * continues * next_values - values
    decay = gamma * gae_lambda * unbroken
    advantages = torch.empty_like(deltas)
    running = torch.zeros_like(deltas[0])
    for step in reversed(range(len(deltas))):
        running = deltas[step] + decay[step] * running
        advantages[step] = running
    return AdvantageEstimate(advantages, advantages + values)
