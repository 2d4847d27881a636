"""Multi-layer perceptrons with orthogonal initialisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

Activation = Literal["tanh", "silu"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "silu": nn.SiLU}


def mlp(
    input_dim: int, hidden_sizes: Sequence[int], output_dim: int, *, activation: Activation, output_gain: float
) -> nn.Sequential:
    """Build a multi-layer perceptron with orthogonal weights, zero biases and an activation after each hidden layer.

    A small ``output_gain``, that of the last layer, starts a policy near its mean action 0.

    Example:
        >>> len(mlp(3, [64, 64], 2, activation="tanh", output_gain=0.01))
        5
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"`activation` must be one of {sorted(ACTIVATIONS)}, got {activation!r}.")
    sizes = [input_dim, *hidden_sizes, output_dim]
    if min(sizes) < 1:
        raise ValueError(f"layer sizes must be positive, got {sizes}.")

    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes[:-1]):
        layers += [_linear(fan_in, fan_out, gain=math.sqrt(2.0)), ACTIVATIONS[activation]()]
    layers.append(_linear(sizes[-2], sizes[-1], gain=output_gain))
    return nn.Sequential(*layers)


def _linear(fan_in: int, fan_out: int, *, gain: float) -> nn.Linear:
    layer = nn.Linear(fan_in, fan_out)
    nn.init.orthogonal_(layer.weight, gain=gain)
    nn.init.zeros_(layer.bias)
    return layer
