"""Perceptrons: their shape, their initialisation, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.func import functional_call

from rrl.policies import mlp
from rrl.policies.networks import Backpropagation


def test_weights_are_orthogonal_and_biases_zero():
    network = mlp(8, [8], 8, activation="tanh", output_gain=0.01)
    weight = network[-1].weight.detach()
    torch.testing.assert_close(weight @ weight.T, 0.01**2 * torch.eye(8))
    assert not network[0].bias.any()


def test_a_small_output_gain_starts_near_zero():
    network = mlp(4, [64, 64], 2, activation="silu", output_gain=0.01)
    assert network(torch.randn(10, 4)).abs().max() < 0.1


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"`activation` must be one of \['silu', 'tanh'\], got 'relu'"):
        mlp(1, [1], 1, activation="relu", output_gain=1.0)


def test_an_empty_layer_is_refused():
    with pytest.raises(ValueError, match="layer sizes must be positive"):
        mlp(1, [0], 1, activation="tanh", output_gain=1.0)


networks = pytest.mark.parametrize(
    ("hidden_sizes", "activation"),
    [([], "tanh"), ([7], "tanh"), ([8, 5], "tanh"), ([6, 6, 6], "silu"), ([5], "silu")],
)


def random_network(hidden_sizes, activation) -> tuple[nn.Sequential, torch.Tensor]:
    """Return a network with biases that are not zero, and inputs."""
    torch.manual_seed(0)
    network = mlp(4, hidden_sizes, 2, activation=activation, output_gain=1.0).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network, torch.randn(9, 4, dtype=torch.float64)


@networks
def test_outputs_and_pulled_gradients_are_those_of_autograd(hidden_sizes, activation):
    network, inputs = random_network(hidden_sizes, activation)
    outputs, gradient = network(inputs), torch.randn(9, 2, dtype=torch.float64)
    derivatives = Backpropagation(network)
    trace = derivatives.forward(inputs)
    torch.testing.assert_close(trace.outputs[-1], outputs.detach())
    expected = torch.autograd.grad(outputs, list(network.parameters()), gradient)
    for pulled, wanted in zip(derivatives.pull(trace, gradient), expected, strict=True):
        torch.testing.assert_close(pulled, wanted)


@networks
def test_pushed_changes_are_the_jacobian_times_the_change(hidden_sizes, activation):
    network, inputs = random_network(hidden_sizes, activation)
    names, values = zip(*network.named_parameters(), strict=True)
    jacobians = jacobian(
        lambda *parameters: functional_call(network, dict(zip(names, parameters, strict=True)), (inputs,)), values
    )
    changes = [torch.randn_like(value) for value in values]
    expected = sum(part.flatten(2) @ change.flatten() for part, change in zip(jacobians, changes, strict=True))
    derivatives = Backpropagation(network)
    flat = torch.cat([change.flatten() for change in changes])
    torch.testing.assert_close(derivatives.push(derivatives.forward(inputs), flat), expected)


def test_parameters_that_change_in_place_are_seen():
    network, inputs = random_network([3], "tanh")
    derivatives = Backpropagation(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    torch.testing.assert_close(derivatives.forward(inputs).outputs[-1], network(inputs).detach())


def test_an_activation_without_a_known_derivative_is_refused():
    with pytest.raises(ValueError, match=r"may have the activations \['SiLU', 'Tanh'\], got ReLU"):
        Backpropagation(nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)))
