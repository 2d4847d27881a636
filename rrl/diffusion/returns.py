"""The return model Z: how much a (noisy) trajectory will be worth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rrl.diffusion.denoiser import noised, scale_noisy
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.residual_mlp import NoiseConditionalMLP, ResidualSizes
from rrl.diffusion.scheduler import NoiseSchedule
from rrl.types import WindowBatch

STD_FLOOR = 1e-6
"""Smallest standard deviation of the targets, in reward units; constant returns must not divide by zero."""


class TargetScale(nn.Module):
    """Mean and standard deviation of all gains so far: the scale of what judges them."""

    totals: Tensor
    """Number, sum and sum of squares of all targets so far. float64, shape ``[3]``."""
    mean: Tensor
    """Mean target in reward units. Scalar."""
    std: Tensor
    """Standard deviation of the targets in reward units. Scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("totals", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def statistics(self, targets: Tensor) -> Tensor:
        """Return number, sum and sum of squares of targets ``[B]``; those of several processes add up."""
        targets = targets.double()
        return torch.stack([torch.ones_like(targets).sum(), targets.sum(), targets.square().sum()])

    def update(self, statistics: Tensor) -> None:
        """Take the :meth:`statistics` of new targets, possibly of all processes, into mean and standard deviation."""
        self.totals += statistics
        count, total, squares = self.totals
        mean = total / count
        self.mean.copy_(mean)
        self.std.copy_((squares / count - mean.square()).clamp(min=STD_FLOOR**2).sqrt())

    def standardize(self, returns: Tensor) -> Tensor:
        """Bring returns in reward units to unit scale. Shape ``[B]``."""
        return (returns - self.mean) / self.std


class ReturnModel(nn.Module):
    """Predicts the standardised return of a trajectory from its noisy observations.

    It does not see the reward and end-of-episode channels: guidance along its gradient must explain a low return by
    the states, instead of overwriting the rewards. It is trained on trajectories as noisy as the denoiser's.

    References:
        Foffano et al., "Adversarial diffusion for robust reinforcement learning" (AD-RRL), NeurIPS 2025, algorithm 3.
    """

    def __init__(self, obs_dim: int, action_dim: int, horizon: int, sizes: ResidualSizes) -> None:
        super().__init__()
        self.network = NoiseConditionalMLP(horizon * (obs_dim + action_dim) + obs_dim, 1, sizes)

    def forward(self, noisy_observations: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """Predict the expected standardised return ``[B]``, given the observation part of what a denoiser is given."""
        features = torch.cat([scale_noisy(noisy_observations, sigma).flatten(1), actions.flatten(1), start], dim=1)
        output: Tensor = self.network(features, sigma)
        return output.squeeze(1)

    def loss(
        self,
        windows: WindowBatch,
        normalizer: TrajectoryNormalizer,
        targets: Tensor,
        schedule: NoiseSchedule,
        generator: torch.Generator,
    ) -> Tensor:
        """Compute the mean squared error on noised windows for standardised targets ``[B]``; differentiable scalar."""
        start, actions = normalizer.encode_start(windows.observations[:, 0]), normalizer.encode_actions(windows.actions)
        noisy, sigma = noised(normalizer.encode(windows), schedule, generator, obs_dim=normalizer.obs_dim)
        predicted = self(noisy[..., : normalizer.obs_dim], actions, start, sigma)
        error: Tensor = (predicted - targets).square().mean()
        return error


def window_returns(rewards: Tensor, valid: Tensor, terminated: Tensor, values: Tensor, *, gamma: float) -> Tensor:
    r"""Give the discounted return of windows, continued by the value of the state in which they stop.

    .. math::
        Z = \sum_{t=0}^{n-1} \gamma^t r_t + \gamma^n V(o_n) \cdot [\text{not terminated}]

    with :math:`n \le H - 1` the number of valid transitions before the last row.

    Args:
        rewards: Rewards. Shape ``[B, H]``.
        valid: True where the transition is part of the episode; once False it stays False. Boolean, shape ``[B, H]``.
        terminated: True where the transition ended the episode for good. Boolean, shape ``[B, H]``.
        values: Value of every row's observation in reward units; zeros for the paper's return. Shape ``[B, H]``.
        gamma: Discount per environment step, in ``[0, 1]``.

    Returns:
        Returns in reward units. Shape ``[B]``.

    Example:
        >>> no, yes = torch.tensor([[False, False, False]]), torch.tensor([[True, True, True]])
        >>> window_returns(torch.tensor([[1.0, 2.0, 9.0]]), yes, no, torch.tensor([[0.0, 0.0, 4.0]]), gamma=0.5)
        tensor([3.])
    """
    transitions = valid[:, :-1]
    discounts = gamma ** torch.arange(rewards.shape[1], device=rewards.device).to(rewards)
    collected = (discounts[:-1] * torch.where(transitions, rewards[:, :-1], 0.0)).sum(1)
    num_valid = transitions.sum(1)
    continues = ~(terminated[:, :-1] & transitions).any(1)
    last_value = values.gather(1, num_valid[:, None]).squeeze(1)
    return collected + torch.where(continues, discounts[num_valid] * last_value, 0.0)


@torch.no_grad()
def ema_update(target: nn.Module, source: nn.Module, decay: Tensor | float) -> None:
    """Move the parameters of ``target``, a moving average, towards those of ``source``; copy the buffers.

    Args:
        target: Changed in place.
        source: Another module of the same kind, which is being trained.
        decay: Weight of the old average, in ``[0, 1)``; 0 copies.
    """
    if target is source:
        raise ValueError("`target` and `source` must be two modules, got the same one twice.")
    for average, parameter in zip(target.parameters(), source.parameters(), strict=True):
        average.lerp_(parameter, 1.0 - decay)
    for copy, buffer in zip(target.buffers(), source.buffers(), strict=True):
        copy.copy_(buffer)
