"""What an update makes of imagined data, compared with what it makes of real ones."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import torch

from rrl.algorithms.advantage_batch import advantage_batch
from rrl.evaluation.training.agreement import judge_update, surrogate_gradient
from rrl.evaluation.training.replays import Replays
from rrl.policies import ActorCritic, Learner
from rrl.trpo.step import surrogate_objective
from rrl.types import RolloutBatch


def player() -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(3, 2, Learner(hidden_sizes=[8]))


def module():
    return SimpleNamespace(
        protagonist=player(), advantage_batch=lambda who, all_: advantage_batch(who, all_, Learner())
    )


def batch(seed: int = 1, num_steps: int = 4) -> RolloutBatch:
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn(num_steps + 1, 50, 3, generator=generator)
    nothing = torch.zeros(num_steps, 50, dtype=torch.bool)
    ones = torch.ones(num_steps, 50)
    return RolloutBatch(
        observations=observations[:-1],
        actions=torch.randn(num_steps, 50, 2, generator=generator),
        rewards=torch.randn(num_steps, 50, generator=generator),
        terminated=nothing,
        truncated=nothing,
        next_observations=observations[1:],
        weights=ones,
        value_weights=ones,
    )


def test_the_gradient_is_that_of_the_surrogate():
    judged = advantage_batch(player(), [batch()], Learner())
    policy = player().policy
    frozen = policy(judged.observations).log_prob(judged.actions).detach()
    log_ratio = policy(judged.observations).log_prob(judged.actions) - frozen
    surrogate_objective(log_ratio, judged.advantages, judged.weights / judged.weights.sum()).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in policy.parameters()])
    torch.testing.assert_close(surrogate_gradient(policy, judged), expected)


def test_unrelated_rewards_hardly_agree():
    metrics = judge_update(module(), batch(1), replace(batch(1), rewards=batch(2).rewards))
    assert abs(metrics["model/advantage_agreement"]) < 0.5
    assert abs(metrics["model/gradient_agreement"]) < 0.7


def test_actions_that_left_the_policy_are_not_compared():
    real = batch()
    rewards, weights = real.rewards.clone(), real.weights.clone()
    rewards[:, :10], weights[:, :10] = 100.0, 0.0
    imagined = replace(real, rewards=rewards, weights=weights)
    assert judge_update(module(), imagined, real)["model/advantage_agreement"] > 0.999


def test_where_all_actions_have_left_the_policy_there_is_nothing_to_compare():
    assert judge_update(module(), replace(batch(), weights=torch.zeros(4, 50)), batch()) == {}


def test_replays_become_trajectories_that_end_where_the_episode_does():
    valid = torch.tensor([[[True, True, False, False], [True, False, False, False], [True, True, True, False]]])
    failed = torch.tensor([[[False, True, False, False], [False] * 4, [False] * 4]])
    observations, actions = torch.arange(12.0).view(1, 3, 4, 1), torch.arange(12.0).view(1, 3, 4, 1)
    made = Replays(observations, torch.ones(1, 3, 4), failed, valid).as_rollout(actions)
    assert made.weights.T.tolist() == [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    assert made.terminated.T.tolist() == [[False, True, False], [False] * 3, [False] * 3]
    assert made.truncated.T.tolist() == [[False] * 3, [True, False, False], [False, False, True]]
    assert made.observations[:, 1, 0].tolist() == made.actions[:, 1, 0].tolist() == [4.0, 5.0, 6.0]
    assert made.next_observations[:, 1, 0].tolist() == [5.0, 6.0, 7.0]
