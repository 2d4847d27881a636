"""From transitions to what the update of a player needs: values, advantages, and all sources in one flat batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rrl.distributed import all_reduce_mean, all_reduce_sum
from rrl.gae import generalized_advantage_estimation
from rrl.policies import ActorCritic, Learner
from rrl.types import RolloutBatch


class AdvantageBatch(NamedTuple):
    """Transitions of one or several sources, flattened and ready for the update of a player."""

    observations: Tensor
    """Normalised observations. Shape ``[N, O]``."""
    actions: Tensor
    """Shape ``[N, A]``."""
    advantages: Tensor
    """Standardised over all weighted samples of all ranks. Shape ``[N]``."""
    value_targets: Tensor
    """In units of reward. Shape ``[N]``."""
    values: Tensor
    """Predictions before the update, in units of reward. Shape ``[N]``."""
    weights: Tensor
    """Of the policy's update. Shape ``[N]``."""
    value_weights: Tensor
    """Of the value function's fit. Shape ``[N]``."""

    @property
    def policy_samples(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a step of the policy needs: observations, actions, advantages and weights."""
        return self.observations, self.actions, self.advantages, self.weights

    def first(self, count: int) -> AdvantageBatch:
        """Keep the first samples, which are those of the first source."""
        return AdvantageBatch(*(column[:count] for column in self))


def advantage_batch(player: ActorCritic, batches: Sequence[RolloutBatch], learner: Learner) -> AdvantageBatch:
    """Judge transitions from one or several sources, each with a ``T`` and ``N`` of its own, by a player's values."""
    parts = [estimate_advantages(player, batch, learner) for batch in batches]
    merged = AdvantageBatch(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    return merged._replace(advantages=_standardize(merged.advantages, merged.weights))


@torch.no_grad()
def estimate_advantages(player: ActorCritic, batch: RolloutBatch, learner: Learner) -> AdvantageBatch:
    """Judge transitions by a player's values, without standardising the advantages: they are in units of reward."""
    observations = player.normalizer(batch.observations)
    values = player.value_function(observations)
    next_values = values.roll(-1, dims=0)
    # Only the last row and episode ends are followed by an observation that is not the next row's.
    jumps = batch.ended.clone()
    jumps[-1] = True
    next_values[jumps] = player.value(batch.next_observations[jumps])
    estimate = generalized_advantage_estimation(
        batch.rewards,
        values,
        next_values,
        batch.terminated,
        batch.truncated,
        gamma=learner.gamma,
        gae_lambda=learner.gae_lambda,
    )
    columns = (observations, batch.actions, *estimate, values, batch.weights, batch.value_weights)
    return AdvantageBatch(*(column.flatten(0, 1) for column in columns))


def explained_variance(batch: AdvantageBatch) -> Tensor:
    """Compute the share of the targets' variance that the values of before the update explain, over all ranks."""
    weights = batch.value_weights / batch.value_weights.sum()

    def variance(values: Tensor) -> Tensor:
        return (weights * (values - (weights * values).sum()).square()).sum()

    residual, total = variance(batch.value_targets - batch.values), variance(batch.value_targets)
    residual, total = all_reduce_mean(torch.stack([residual, total]))
    explained: Tensor = 1.0 - residual / total.clamp(min=1e-8)
    return explained


def _standardize(advantages: Tensor, weights: Tensor) -> Tensor:
    """Bring advantages to weighted mean 0 and standard deviation 1 over all ranks."""
    sums = torch.stack([weights.sum(), (weights * advantages).sum(), (weights * advantages.square()).sum()]).double()
    total, first, second = all_reduce_sum(sums)
    mean = first / total
    # The margin keeps equal advantages at 0 instead of amplifying their rounding errors.
    deviation = (second / total - mean.square()).clamp(min=0.0).sqrt() + 1e-8
    standardized: Tensor = ((advantages - mean) / deviation).to(advantages.dtype)
    return standardized
