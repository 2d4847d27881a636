"""The Gaussian policy: its spread is one learnt constant, and its curvature is that of the divergence."""

import math

import pytest
import torch
from torch.autograd.functional import hessian
from torch.distributions import kl_divergence
from torch.func import functional_call

from rrl.policies import GaussianPolicy
from rrl.policies.networks import Activation


def explicit_hessian(policy: GaussianPolicy, observations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    names = [name for name, _ in policy.named_parameters()]
    shapes = [parameter.shape for parameter in policy.parameters()]
    frozen = policy(observations)
    old = type(frozen)(type(frozen.base_dist)(frozen.mean.detach(), frozen.stddev.detach()), 1)

    def divergence(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([shape.numel() for shape in shapes])
        parameters = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return (weights * kl_divergence(old, functional_call(policy, parameters, (observations,)))).sum()

    return hessian(divergence, torch.cat([parameter.detach().reshape(-1) for parameter in policy.parameters()]))


def test_the_spread_does_not_depend_on_the_observation():
    distribution = GaussianPolicy(3, 2, initial_log_std=-0.5)(torch.randn(7, 3))
    torch.testing.assert_close(distribution.stddev, torch.full((7, 2), math.exp(-0.5)))


def test_the_log_probability_is_that_of_independent_normals():
    policy = GaussianPolicy(3, 2, initial_log_std=0.3)
    observations, actions = torch.randn(7, 3), torch.randn(7, 2)
    expected = torch.distributions.Normal(policy.mean(observations), math.exp(0.3)).log_prob(actions).sum(-1)
    torch.testing.assert_close(policy(observations).log_prob(actions), expected)


@pytest.mark.parametrize("activation", ["tanh", "silu"])
@pytest.mark.parametrize("hidden_sizes", [(), (5,), (4, 5)])
def test_the_fisher_product_equals_that_of_the_explicit_hessian_of_the_divergence(
    activation: Activation, hidden_sizes: tuple[int, ...]
):
    torch.manual_seed(0)
    policy = GaussianPolicy(3, 2, hidden_sizes=hidden_sizes, activation=activation, initial_log_std=-0.3).double()
    torch.nn.init.normal_(policy.mean[-1].weight)
    torch.nn.init.normal_(policy.log_std)
    observations, shares = torch.randn(20, 3, dtype=torch.float64), torch.rand(20, dtype=torch.float64)
    matrix = explicit_hessian(policy, observations, shares)
    vector = torch.randn(len(matrix), dtype=torch.float64)
    torch.testing.assert_close(policy.fisher_product(observations, shares)(vector), matrix @ vector)
