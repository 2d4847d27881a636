"""What imagined trajectories are worth, where they end, and what of them a policy may learn from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rrl.diffusion import ImaginedTrajectories
from rrl.types import RolloutBatch

MAX_ACTION_DISTANCE = 3.0
"""A Gaussian policy's own actions lie farther (root mean square) once in 400 in one dimension, in 250,000 in three."""


@dataclass(frozen=True)
class JudgedTrajectories(ImaginedTrajectories):
    """Imagined trajectories under a player's values."""

    terminated: Tensor
    """True where a transition ends the episode. Boolean, shape ``[B, H]``."""
    returns: Tensor
    """Discounted returns, by the same rule as for real windows. Shape ``[B]``."""
    gains: Tensor
    """By how much they beat the value of the start. Shape ``[B]``."""


def before_the_end(terminated: Tensor) -> Tensor:
    """Mark transitions up to and including the first that terminates. Boolean, shape ``[B, H]``."""
    valid = torch.ones_like(terminated)
    valid[:, 1:] = terminated[:, :-1].cumsum(dim=1) == 0
    return valid


def as_rollout(judged: JudgedTrajectories) -> RolloutBatch:
    """Deliver imagined trajectories in the container of real ones.

    States and actions are sampled together, and where the policy is steep the actions may end far from what the policy
    would do in the final states. From the first such action on a trajectory says nothing about the policy.

    Args:
        judged: ``H`` rows of which the first ``H - 1`` are complete transitions.

    Returns:
        A rollout of ``T = H - 1`` steps; what follows an imagined end has weight 0. So has everything from the first
        action on whose root mean square distance from the policy's mean exceeds ``MAX_ACTION_DISTANCE`` standard
        deviations; the trajectory counts as cut off before it.
    """
    distance = judged.deviations.square().mean(dim=-1).sqrt()
    on_policy = (distance > MAX_ACTION_DISTANCE).cumsum(dim=1) == 0
    weights = (before_the_end(judged.terminated) & on_policy).to(judged.rewards)
    # Without the cut, advantages of earlier actions would count what the off-policy one led to.
    cut = (on_policy & ~on_policy.roll(-1, dims=1))[:, :-1] & ~judged.terminated[:, :-1]
    observations = judged.observations.transpose(0, 1)
    columns = (judged.actions, judged.rewards, judged.terminated, weights)
    actions, rewards, ended, weight = (column[:, :-1].transpose(0, 1) for column in columns)
    return RolloutBatch(
        observations=observations[:-1],
        actions=actions,
        rewards=rewards,
        terminated=ended,
        truncated=cut.transpose(0, 1),
        next_observations=observations[1:],
        weights=weight,
        value_weights=weight,
    )
