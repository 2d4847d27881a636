"""Imagined trajectories as transitions, and real and imagined ones in one policy update, each with its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rrl.checks import require_not_negative, require_positive, require_within
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


@dataclass(frozen=True, kw_only=True)
class Imagination:
    """When imagined data are used, and how many of them."""

    real_fraction: float = 0.5
    """Share of the real rollout in the first policy update of an iteration; those after it have imagined data alone,
    as the rollout is not theirs any more. ``0`` in the paper, where the policy stays as it is while nothing is
    imagined."""
    guided_fraction: float = 0.5
    """Share of guided trajectories among the imagined; ``1`` in the paper."""
    warmup: int = 5_000
    """Real environment steps before imagined data are used at all."""
    max_replay_error: float | None = None
    """Imagined data are used only while the model's replay error, as the diagnostics find it, is below this fraction of
    that of assuming that nothing changes, and so not before the first diagnosis. No bound where None, nor on tasks that
    cannot be replayed."""
    shorten_steps: bool = False
    """Make the steps on imagined data alone as short as their direction deserves: the bound of the trust region times
    the square of the cosine of imagined and real policy gradients, in the running mean of the diagnoses, and none where
    it is negative. A model can predict every state well and its gradients be useless, since a steep value function
    turns small errors into large ones. Where ``t`` along the true gradient gains ``a t - b t^2 / 2``, it gains
    ``a t cos - b t^2 / 2`` at an angle: the best step is shorter by the cosine, and the divergence goes with the
    square. Needs a ``TrustRegion``; without effect on tasks that cannot be replayed."""
    guidance_warmup: int = 10_000
    """Real environment steps before trajectories are guided."""
    value_from_imagination: bool = False
    """Fit the value function on the mixture; on the real rollout alone otherwise. True in the paper. Imagined targets
    are mostly the value function's own predictions, and its errors feed on them."""

    spread_from_imagination: bool = False
    """Learn the policy's spread on the mixture; on the real rollout alone otherwise. True in the paper. In a window so
    short exploration costs reward and finds nothing: imagined data narrow a policy before it has learnt to walk."""

    def __post_init__(self) -> None:
        require_within("[0, 1]", real_fraction=self.real_fraction, guided_fraction=self.guided_fraction)
        require_not_negative(warmup=self.warmup, guidance_warmup=self.guidance_warmup)
        if self.max_replay_error is not None:
            require_positive(max_replay_error=self.max_replay_error)
        if self.real_fraction == 0.0 and not self.value_from_imagination:
            raise ValueError("`value_from_imagination` must be true where `real_fraction` is 0, got false.")


def mix_real_and_imagined(
    real: RolloutBatch, imagined: Sequence[RolloutBatch], real_fraction: float
) -> list[RolloutBatch]:
    """Weight the transitions of both sources so that the real ones make up their share of the policy update.

    Args:
        real: Real transitions, of shape ``[T, N, ...]``.
        imagined: Imagined transitions, each of a shape of its own. Those of weight 0 stay out.
        real_fraction: Share of the real transitions in the sum of the weights, in ``[0, 1]``.

    Returns:
        The real transitions first, unless their share is 0, then the imagined ones. The weights add to 1 unless
        there is nothing imagined; those in the fit of the value function stay as they are.
    """
    # Where every imagined transition has been dropped, the sum of their weights is 0.
    imagined_total = torch.stack([batch.weights.sum() for batch in imagined]).sum().clamp(min=1.0)
    sources = [] if real_fraction == 0.0 else [_weighted(real, real_fraction / real.weights.sum())]
    return sources + [_weighted(batch, (1.0 - real_fraction) / imagined_total) for batch in imagined]


def _weighted(batch: RolloutBatch, scale: Tensor) -> RolloutBatch:
    return replace(batch, weights=batch.weights * scale)
