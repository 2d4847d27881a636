"""The fit of a value function to its targets: weighted least squares by many small gradient steps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from rrl.distributed import all_reduce_mean, average_gradients
from rrl.policies.actor_critic import ValueFunction
from rrl.policies.backpropagation import Backpropagation


@torch.no_grad()
def fit_value_function(
    value_function: ValueFunction,
    optimizer: Optimizer,
    observations: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    epochs: int,
    batch_size: int,
) -> float:
    """Fit a value function in place, its scale before all else; all ranks take the same steps.

    Observations ``[N, O]`` are normalised, targets ``[N]`` are in units of reward, weights ``[N]`` of any scale; zeros
    exclude. Each epoch has an order of its own.

    Returns:
        The loss of the last step, in the standardised units in which the network learns.

    Raises:
        FloatingPointError: If that loss is not finite.
    """
    value_function.rescale(targets, weights)
    columns = (observations, value_function.standardize(targets), weights / all_reduce_mean(weights.mean()))
    derivatives, parameters = Backpropagation(value_function.network), list(value_function.parameters())
    loss = targets.new_zeros(())
    for _ in range(epochs):
        order = torch.randperm(len(targets), device=targets.device)
        for batch in zip(*(column[order].split(batch_size) for column in columns), strict=True):
            loss, gradients = _squared_error(derivatives, *batch)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            average_gradients(parameters)
            optimizer.step()
    last_loss = float(loss)
    if not last_loss < float("inf"):
        raise FloatingPointError("the value loss is not finite.")
    return last_loss


def _squared_error(
    derivatives: Backpropagation, observations: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the weighted mean squared error and its gradients."""
    trace = derivatives.forward(observations)
    error = trace.outputs[-1].squeeze(-1) - targets
    weighted = weights * error / len(error)
    return weighted @ error, derivatives.pull(trace, 2.0 * weighted.unsqueeze(-1))
