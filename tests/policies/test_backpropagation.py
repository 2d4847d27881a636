"""The gradient that is written out is the one that autograd finds."""

import pytest
import torch
from torch import nn

from rrl.policies import mlp
from rrl.policies.backpropagation import SquaredErrorGradient


@pytest.mark.parametrize("activation", ["tanh", "silu"])
@pytest.mark.parametrize("hidden_sizes", [[], [7], [8, 5], [6, 6, 6]])
def test_loss_and_gradient_are_those_of_autograd(activation, hidden_sizes):
    torch.manual_seed(0)
    network = mlp(4, hidden_sizes, 1, activation=activation, output_gain=1.0).double()
    inputs, targets, weights = torch.randn(9, 4).double(), torch.randn(9).double(), torch.rand(9).double()
    expected = (weights * (network(inputs).squeeze(-1) - targets).square()).mean()
    expected_gradients = torch.autograd.grad(expected, list(network.parameters()))

    loss = SquaredErrorGradient(network)(inputs, targets, weights)

    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0.0)
    for parameter, gradient in zip(network.parameters(), expected_gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-14)


def test_each_call_replaces_the_gradient_and_sees_new_parameters():
    network = nn.Sequential(nn.Linear(1, 1, bias=True)).double()
    gradient = SquaredErrorGradient(network)
    inputs, targets, weights = torch.ones(1, 1).double(), torch.zeros(1).double(), torch.ones(1).double()
    for value in (1.0, 3.0):
        nn.init.constant_(network[0].weight, value)
        nn.init.zeros_(network[0].bias)
        gradient(inputs, targets, weights)
        assert network[0].weight.grad.item() == 2.0 * value


def test_a_layer_without_a_known_gradient_is_refused():
    with pytest.raises(ValueError, match="must be made of Linear, SiLU and Tanh layers, got ReLU"):
        SquaredErrorGradient(nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)))
