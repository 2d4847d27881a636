"""Backpropagation through a small network, written out: a general graph costs several times the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

ACTIVATION_GRADIENTS: dict[type[nn.Module], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    nn.Tanh: lambda gradient, _, after: torch.ops.aten.tanh_backward(gradient, after),
    nn.SiLU: lambda gradient, before, _: torch.ops.aten.silu_backward(gradient, before),
}
"""Gradient at an activation's output, its input and its output -> gradient at its input."""


class SquaredErrorGradient:
    r"""Compute :math:`\frac{1}{N} \sum_n w_n (f(x_n) - y_n)^2` and its gradient for a multi-layer perceptron.

    The gradients of the network's parameters are allocated here, and overwritten by each call.

    Args:
        network: What :func:`~rrl.policies.networks.mlp` makes, with one output.

    Raises:
        ValueError: If the network has a layer of another kind.

    Example:
        >>> network = nn.Sequential(nn.Linear(1, 1))
        >>> _ = nn.init.constant_(network[0].weight, 3.0), nn.init.zeros_(network[0].bias)
        >>> loss = SquaredErrorGradient(network)(torch.tensor([[2.0]]), torch.tensor([5.0]), torch.ones(1))
        >>> loss, network[0].weight.grad  # (3 * 2 - 5)^2 and 2 (3 * 2 - 5) 2
        (tensor(1.), tensor([[4.]]))
    """

    def __init__(self, network: nn.Sequential) -> None:
        for layer in network:
            if type(layer) not in {nn.Linear, *ACTIVATION_GRADIENTS}:
                raise ValueError(f"`network` must be made of Linear, SiLU and Tanh layers, got {type(layer).__name__}.")
        for parameter in network.parameters():
            parameter.grad = torch.empty_like(parameter)
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        # Looking a parameter up in its module takes as long as a small product.
        self._weights = [layer.weight for layer in linear]
        self._biases = [layer.bias for layer in linear]
        self._gradients = [(cast(Tensor, layer.weight.grad), cast(Tensor, layer.bias.grad)) for layer in linear]
        self._activations = [layer for layer in network if not isinstance(layer, nn.Linear)]

    @torch.no_grad()
    def __call__(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Write the gradient into the parameters' ``grad``.

        Args:
            inputs: Shape ``[N, O]``.
            targets: Shape ``[N]``.
            weights: Shape ``[N]``.

        Returns:
            The weighted mean squared error, a scalar.
        """
        before, after = self._forward(inputs)
        error = before[-1].squeeze(-1) - targets
        weighted = weights * error
        gradient = (weighted * (2.0 / len(targets))).unsqueeze(-1)
        self._backward(gradient, before, after)
        return weighted @ error / len(targets)

    def _forward(self, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return what each layer puts out before its activation, and what it takes in."""
        before, after = [], [inputs]
        for weight, bias, activation in zip(self._weights, self._biases, [*self._activations, None], strict=True):
            before.append(torch.addmm(bias, after[-1], weight.t()))
            if activation is not None:
                after.append(activation(before[-1]))
        return before, after

    def _backward(self, gradient: Tensor, before: list[Tensor], after: list[Tensor]) -> None:
        for layer in reversed(range(len(self._weights))):
            weight_gradient, bias_gradient = self._gradients[layer]
            torch.mm(gradient.t(), after[layer], out=weight_gradient)
            torch.sum(gradient, 0, out=bias_gradient)
            if layer > 0:
                through = ACTIVATION_GRADIENTS[type(self._activations[layer - 1])]
                gradient = through(gradient @ self._weights[layer], before[layer - 1], after[layer])
