"""The fits of a logistic model that the risk model and Platt scaling share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

GRADIENT_TOLERANCE = 1e-7
RIDGE = 1e-10
MAX_HALVINGS = 20


@torch.no_grad()
def fit_logistic_newton(
    features: Tensor, targets: Tensor, *, l2: float, initial: Tensor | None = None, max_iterations: int = 100
) -> Tensor:
    r"""Minimise the penalised cross-entropy of a logistic model to convergence, by Newton's method with step halving.

    .. math::
        \min_{w, b} \; \frac{1}{M} \sum_i \mathrm{CE}(y_i, \sigma(w^\top x_i + b)) + \frac{\lambda}{2} \lVert w \rVert^2

    Of features ``[M, F]``, best standardised, and probabilities ``[M]``; the result holds the weights, then the bias,
    float64, ``[F + 1]``. The search starts from ``initial`` if that is better than zero, which saves half of the steps.
    The problem is convex, so the result depends on nothing but the data, up to the tolerance. With the few features of
    a risk model the Hessian is small, and this takes less than half the time of L-BFGS.

    Example:
        >>> features, targets = torch.tensor([[-1.0], [1.0]]), torch.tensor([0.25, 0.75])
        >>> fit_logistic_newton(features, targets, l2=0.0).round(decimals=3)
        tensor([1.0990, 0.0000], dtype=torch.float64)
    """
    inputs, goals = _with_ones(features), targets.double()
    penalty = torch.full_like(inputs[0], l2)
    penalty[-1] = 0.0

    def loss_at(coefficients: Tensor) -> Tensor:
        cross_entropy = binary_cross_entropy_with_logits(inputs @ coefficients, goals)
        return cross_entropy + 0.5 * (penalty * coefficients.square()).sum()

    coefficients = torch.zeros_like(penalty)
    loss = loss_at(coefficients)
    if initial is not None and (initial_loss := loss_at(initial.to(inputs))) < loss:
        coefficients, loss = initial.to(inputs), initial_loss
    for _ in range(max_iterations):
        probabilities = torch.sigmoid(inputs @ coefficients)
        gradient = (probabilities - goals) @ inputs / goals.numel() + penalty * coefficients
        if gradient.abs().max() < GRADIENT_TOLERANCE:
            break
        curvature = probabilities * (1.0 - probabilities) / goals.numel()
        hessian = (inputs * curvature.unsqueeze(1)).T @ inputs
        # Features that depend on each other would make it singular.
        hessian.diagonal().add_(penalty + RIDGE)
        better = _descend(loss_at, coefficients, loss, torch.linalg.solve(hessian, gradient))
        if better is None:
            break
        coefficients, loss = better
    return coefficients


def _descend(
    loss_at: Callable[[Tensor], Tensor], coefficients: Tensor, loss: Tensor, step: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Halve a Newton step until the loss falls; None where rounding leaves nothing to gain."""
    for halvings in range(MAX_HALVINGS + 1):
        candidate = coefficients - 0.5**halvings * step
        candidate_loss = loss_at(candidate)
        if candidate_loss < loss:
            return candidate, candidate_loss
    return None


@torch.no_grad()
def fit_logistic_sgd(
    features: Tensor,
    targets: Tensor,
    initial: Tensor,
    generator: torch.Generator,
    *,
    learning_rate: float = 0.1,
    num_epochs: int = 20,
    batch_size: int = 1024,
) -> Tensor:
    """Descend the cross-entropy of a logistic model with plain stochastic gradients, as the paper does.

    As `fit_logistic_newton`, but from ``initial`` on, float64. The paper states none of the last three arguments.

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, Algorithm 2, line 3.
    """
    inputs, goals, coefficients = _with_ones(features), targets.double(), initial.clone()
    for _ in range(num_epochs):
        order = torch.randperm(inputs.shape[0], generator=generator).to(inputs.device)
        for batch in torch.split(order, batch_size):
            errors = torch.sigmoid(inputs[batch] @ coefficients) - goals[batch]
            coefficients -= learning_rate * (errors @ inputs[batch]) / batch.numel()
    return coefficients


def _with_ones(features: Tensor) -> Tensor:
    """Append the constant feature of the bias. Shape ``[M, F + 1]``, float64."""
    return torch.cat([features, torch.ones_like(features[:, :1])], dim=1).double()
