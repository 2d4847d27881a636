"""Judge imagined data by what a policy update makes of them: advantages and policy gradient, against real ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from rrl.algorithms.advantage_batch import AdvantageBatch
from rrl.distributed import all_reduce_sum
from rrl.policies.gaussian import GaussianPolicy
from rrl.trpo.step import sample_shares
from rrl.types import RolloutBatch


def judge_update(module: Any, imagined: RolloutBatch, real: RolloutBatch) -> dict[str, float]:
    """Compare imagined trajectories with real ones of the same starts and action noise, ``[T, N]`` each, by log key.

    Each side is judged as if the update had it alone. Where every imagined action has left the policy there is nothing
    to compare, and the result is empty.

    Args:
        module: Algorithm whose protagonist acts, values and would be updated.
        imagined: Those that count have a positive weight.
        real: Trajectory by trajectory what the simulator makes of the same noise.
    """
    if float(all_reduce_sum(imagined.weights.sum())) == 0.0:
        return {}
    player = module.protagonist
    sides = [module.advantage_batch(player, [batch]) for batch in (imagined, real)]
    used = imagined.weights[0] > 0.0
    # The batches are flattened step by step: the first N samples are the first actions.
    first = torch.stack([side.advantages[: len(used)][used] for side in sides])
    ours, theirs = (surrogate_gradient(player.policy, side) for side in sides)
    return {
        "model/advantage_agreement": float(torch.corrcoef(first)[0, 1].nan_to_num(0.0)) if used.sum() > 1 else 0.0,
        "model/gradient_agreement": float(torch.cosine_similarity(ours, theirs, dim=0)),
    }


def surrogate_gradient(policy: GaussianPolicy, batch: AdvantageBatch) -> Tensor:
    """Return the gradient of the surrogate objective at the present parameters, over all ranks. Shape ``[P]``."""
    observations, actions, advantages, weights = batch.policy_samples
    with torch.enable_grad():
        objective = (sample_shares(weights) * advantages * policy(observations).log_prob(actions)).sum()
        gradient = torch.autograd.grad(objective, list(policy.parameters()))
    return all_reduce_sum(parameters_to_vector(gradient))
