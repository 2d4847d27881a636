"""Perceptrons: their shape, their initialisation, and what is refused."""

import pytest
import torch

from rrl.policies import mlp


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
