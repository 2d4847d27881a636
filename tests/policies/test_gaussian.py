"""The Gaussian policy: its spread is one learnt constant."""

import math

import torch

from rrl.policies import GaussianPolicy


def test_the_spread_does_not_depend_on_the_observation():
    distribution = GaussianPolicy(3, 2, initial_log_std=-0.5)(torch.randn(7, 3))
    torch.testing.assert_close(distribution.stddev, torch.full((7, 2), math.exp(-0.5)))


def test_the_log_probability_is_that_of_independent_normals():
    policy = GaussianPolicy(3, 2, initial_log_std=0.3)
    observations, actions = torch.randn(7, 3), torch.randn(7, 2)
    expected = torch.distributions.Normal(policy.mean(observations), math.exp(0.3)).log_prob(actions).sum(-1)
    torch.testing.assert_close(policy(observations).log_prob(actions), expected)
