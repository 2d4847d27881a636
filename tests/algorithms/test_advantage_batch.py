"""From transitions to one flat batch: values, advantages, weights."""

from __future__ import annotations

import math

import pytest
import torch

from rrl.algorithms.advantage_batch import advantage_batch
from rrl.policies import ActorCritic, Learner
from rrl.types import RolloutBatch

ONE_STEP = Learner(gamma=0.5, gae_lambda=0.0)


def identity_values() -> ActorCritic:
    """A player whose value of an observation is the observation itself."""
    player = ActorCritic(1, 1, Learner(hidden_sizes=[]))
    torch.nn.init.ones_(player.value_function.network[0].weight)
    return player


def chain(**ends: int) -> RolloutBatch:
    """Three steps of one world from 1 over 2 to 3, reward 1 each; an episode that ends does so in front of a 5."""
    flags = {name: torch.zeros(3, 1, dtype=torch.bool) for name in ("terminated", "truncated")}
    following = torch.tensor([2.0, 3.0, 4.0])
    for name, step in ends.items():
        flags[name][step] = True
        following[step] = 5.0
    ones = torch.ones(3, 1)
    observations = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    return RolloutBatch(
        observations=observations,
        actions=torch.zeros(3, 1, 1),
        rewards=ones,
        **flags,
        next_observations=following.view(3, 1, 1),
        weights=ones,
        value_weights=ones,
    )


@pytest.mark.parametrize(
    ("ends", "targets"),
    [
        ({}, [1 + 0.5 * 2, 1 + 0.5 * 3, 1 + 0.5 * 4]),
        ({"truncated": 1}, [1 + 0.5 * 2, 1 + 0.5 * 5, 1 + 0.5 * 4]),
        ({"terminated": 1}, [1 + 0.5 * 2, 1, 1 + 0.5 * 4]),
        ({"terminated": 2}, [1 + 0.5 * 2, 1 + 0.5 * 3, 1]),
        ({"truncated": 2}, [1 + 0.5 * 2, 1 + 0.5 * 3, 1 + 0.5 * 5]),
    ],
)
def test_values_continue_time_limits_and_the_end_of_a_rollout_but_no_termination(ends, targets):
    batch = advantage_batch(identity_values(), [chain(**ends)], ONE_STEP)
    torch.testing.assert_close(batch.value_targets, torch.tensor(targets))
    torch.testing.assert_close(batch.values, torch.tensor([1.0, 2.0, 3.0]))


def test_advantages_are_standardised_over_the_weighted_samples_of_all_sources():
    outlier = chain(terminated=2)
    ignored = RolloutBatch(**{**vars(outlier), "rewards": 1e3 * outlier.rewards, "weights": 0.0 * outlier.weights})
    batch = advantage_batch(identity_values(), [chain(), ignored], ONE_STEP)
    # Temporal differences 1, 0.5 and 0.
    expected = torch.tensor([1.0, 0.0, -1.0]) * math.sqrt(1.5)
    torch.testing.assert_close(batch.advantages[:3], expected)


def test_sources_may_differ_in_shape():
    short = RolloutBatch(**{name: column[:2].repeat_interleave(4, 1) for name, column in vars(chain()).items()})
    assert len(advantage_batch(identity_values(), [chain(), short], ONE_STEP).advantages) == 3 + 8
