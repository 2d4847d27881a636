"""Multi-layer perceptrons with orthogonal initialisation, and their derivatives written out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

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


ACTIVATION_DERIVATIVES: dict[type[nn.Module], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    nn.Tanh: lambda factor, _, after: torch.ops.aten.tanh_backward(factor, after),
    nn.SiLU: lambda factor, before, _: torch.ops.aten.silu_backward(factor, before),
}
"""A factor, an activation's inputs and its outputs -> the factor times the derivative of the activation."""


class Trace(NamedTuple):
    """What a network computed on the way from its inputs to its outputs."""

    inputs: list[Tensor]
    """Of each linear layer. Shapes ``[N, width]``."""
    outputs: list[Tensor]
    """Of each linear layer, before any activation. The last are those of the network. Shapes ``[N, width]``."""


class Backpropagation:
    """The derivatives of a multi-layer perceptron in its parameters, forwards and backwards, at any inputs.

    The network is what :func:`~rrl.policies.networks.mlp` makes; later changes of its parameters in place are seen.
    Vectors of parameters are in the order of ``network.parameters()``. Nothing here makes a gradient graph.
    """

    def __init__(self, network: nn.Sequential) -> None:
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        self._activations = [layer for layer in network if not isinstance(layer, nn.Linear)]
        for layer in self._activations:
            if type(layer) not in ACTIVATION_DERIVATIVES:
                known = sorted(known.__name__ for known in ACTIVATION_DERIVATIVES)
                raise ValueError(f"`network` may have the activations {known}, got {type(layer).__name__}.")
        # Detached views of the parameters: looking one up in its module takes as long as a small product.
        self._weights = [layer.weight.detach() for layer in layers]
        self._biases = [layer.bias.detach() for layer in layers]
        self._sizes = [parameter.numel() for layer in layers for parameter in (layer.weight, layer.bias)]
        self._derivatives = [ACTIVATION_DERIVATIVES[type(layer)] for layer in self._activations]

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Trace:
        """Run the network on inputs ``[N, input_dim]``."""
        trace = Trace([inputs], [])
        for layer, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            trace.outputs.append(torch.addmm(bias, trace.inputs[layer], weight.t()))
            if layer < len(self._activations):
                trace.inputs.append(self._activations[layer](trace.outputs[layer]))
        return trace

    @torch.no_grad()
    def pull(self, trace: Trace, gradient: Tensor) -> list[Tensor]:
        """Take a gradient ``[N, output_dim]`` back to the parameters: the transposed Jacobian times it.

        The results have the shapes of the parameters and are summed over the samples.

        Example:
            >>> network = nn.Sequential(nn.Linear(1, 1))
            >>> derivatives = Backpropagation(network)
            >>> weight, bias = derivatives.pull(derivatives.forward(torch.tensor([[5.0]])), torch.tensor([[2.0]]))
            >>> weight, bias
            (tensor([[10.]]), tensor([2.]))
        """
        gradients: list[Tensor] = []
        for layer in reversed(range(len(self._weights))):
            gradients += [gradient.sum(0), gradient.t() @ trace.inputs[layer]]
            if layer > 0:
                gradient = self._through(layer - 1, trace, gradient @ self._weights[layer])
        return gradients[::-1]

    @torch.no_grad()
    def push(self, trace: Trace, direction: Tensor) -> Tensor:
        """Take a change ``[P]`` of all parameters forward to the outputs ``[N, output_dim]``: the Jacobian times it."""
        parts = direction.split(self._sizes)
        # The inputs of the first layer do not change, those of the others do as the layer before makes them.
        change = torch.empty(0)
        for layer, weight in enumerate(self._weights):
            inherited = self._through(layer - 1, trace, change) @ weight.t() if layer > 0 else 0.0
            own = torch.addmm(parts[2 * layer + 1], trace.inputs[layer], parts[2 * layer].view_as(weight).t())
            change = own + inherited
        return change

    def _through(self, activation: int, trace: Trace, factor: Tensor) -> Tensor:
        """Multiply by the derivative of an activation."""
        return self._derivatives[activation](factor, trace.outputs[activation], trace.inputs[activation + 1])
