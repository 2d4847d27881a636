"""Logistic regression as functions: the fits that the risk model and Platt scaling share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def fit_logistic_lbfgs(features: Tensor, targets: Tensor, *, l2: float, max_iterations: int = 100) -> Tensor:
    r"""Minimise the penalised cross-entropy of a logistic model to convergence.

    .. math::
        \min_{w, b} \; \frac{1}{M} \sum_i \mathrm{CE}(y_i, \sigma(w^\top x_i + b)) + \frac{\lambda}{2} \lVert w \rVert^2

    The problem is convex and the search starts at zero, so the result depends on nothing but the data.

    Args:
        features: Inputs, best standardised. Shape ``[M, F]``.
        targets: Probabilities to fit, in ``[0, 1]``. Shape ``[M]``.
        l2: Penalty :math:`\lambda` on the weights, not on the bias; at least 0.
        max_iterations: Limit on the iterations of L-BFGS.

    Returns:
        Weights followed by the bias. Shape ``[F + 1]``, float64.

    Example:
        >>> features, targets = torch.tensor([[-1.0], [1.0]]), torch.tensor([0.25, 0.75])
        >>> fit_logistic_lbfgs(features, targets, l2=0.0).round(decimals=3)
        tensor([1.0990, 0.0000], dtype=torch.float64)
    """
    inputs, goals = features.double(), targets.double()
    coefficients = torch.zeros(inputs.shape[1] + 1, dtype=torch.float64, device=inputs.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [coefficients],
        max_iter=max_iterations,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            logits = inputs @ coefficients[:-1] + coefficients[-1]
            loss = binary_cross_entropy_with_logits(logits, goals) + 0.5 * l2 * coefficients[:-1].square().sum()
            loss.backward()
        return loss

    optimizer.step(closure)
    return coefficients.detach()


@torch.no_grad()
def fit_logistic_sgd(
    features: Tensor,
    targets: Tensor,
    initial: Tensor,
    *,
    generator: torch.Generator,
    learning_rate: float = 0.1,
    num_epochs: int = 20,
    batch_size: int = 1024,
) -> Tensor:
    """Descend the cross-entropy of a logistic model with plain stochastic gradients, as the paper does.

    Args:
        features: Inputs. Shape ``[M, F]``.
        targets: Probabilities to fit, in ``[0, 1]``. Shape ``[M]``.
        initial: Weights followed by the bias, where the descent begins. Shape ``[F + 1]``, float64.
        generator: Source of the order of the samples, on the CPU.
        learning_rate: Step size; the paper states none of these three.
        num_epochs: Passes over the data.
        batch_size: Samples in a gradient.

    Returns:
        Weights followed by the bias. Shape ``[F + 1]``, float64.

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, Algorithm 2, line 3.
    """
    inputs = torch.cat([features, torch.ones_like(features[:, :1])], dim=1).double()
    coefficients = initial.clone()
    for _ in range(num_epochs):
        order = torch.randperm(inputs.shape[0], generator=generator).to(inputs.device)
        for batch in torch.split(order, batch_size):
            errors = torch.sigmoid(inputs[batch] @ coefficients) - targets[batch]
            coefficients -= learning_rate * (errors @ inputs[batch]) / batch.numel()
    return coefficients
