"""Logistic regression, and the parametric calibration maps: Platt's affine map of the logit, and temperature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rrl.risk.calibration import CalibrationMap

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


INVERSE_TEMPERATURE_BOUNDS = (1e-2, 1e2)
"""Where the optimum lies outside, the data are separable or the logits carry no information."""


class PlattScaling(CalibrationMap):
    r"""Scale and shift the logit.

    .. math::
        \hat p = \sigma(a z + b)

    The labels are softened to :math:`(n_+ + 1)/(n_+ + 2)` and :math:`1/(n_- + 2)`, as Platt does, which keeps the fit
    finite on separable data and on one class. Where the logits are worse than chance the slope becomes negative and the
    ranking is turned round.

    References:
        Platt, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods",
        1999, equations 1 and 3; our ``a`` and ``b`` are the negatives of his ``A`` and ``B``.
    """

    coefficients: Tensor
    """Slope ``a`` and shift ``b``. Shape ``[2]``, float64."""

    def __init__(self) -> None:
        super().__init__(coefficients=torch.tensor([1.0, 0.0], dtype=torch.float64))

    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Set slope and shift."""
        positives = labels.sum().double()
        negatives = labels.numel() - positives
        targets = torch.where(labels, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
        # The fit converges quickly only on logits of unit size.
        size = risk_logits.abs().max().clamp(min=1.0)
        slope, shift = fit_logistic_newton((risk_logits / size).unsqueeze(1), targets, l2=0.0)
        self.coefficients.copy_(torch.stack([slope / size, shift]))

    def forward(self, risk_logits: Tensor) -> Tensor:
        """Map logits to risks."""
        slope, shift = self.coefficients.to(risk_logits)
        return torch.sigmoid(slope * risk_logits + shift)


class TemperatureScaling(CalibrationMap):
    r"""Divide the logit by one positive number; the ranking of the states stays as it is.

    .. math::
        \hat p = \sigma(z / T)

    The cross-entropy is convex in :math:`1/T`, so its minimum is found by halving the interval
    ``INVERSE_TEMPERATURE_BOUNDS``. One class alone says nothing about sharpness: the map then is the identity.

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    """

    needs_both_classes = True
    inverse_temperature: Tensor

    def __init__(self) -> None:
        super().__init__(inverse_temperature=torch.tensor(1.0, dtype=torch.float64))

    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Set the temperature."""
        low, high = INVERSE_TEMPERATURE_BOUNDS
        for _ in range(60):  # doubles have 52 binary digits
            middle = 0.5 * (low + high)
            slope = ((torch.sigmoid(middle * risk_logits) - labels.double()) * risk_logits).mean()
            low, high = (low, middle) if slope > 0 else (middle, high)
        self.inverse_temperature.fill_(0.5 * (low + high))

    def forward(self, risk_logits: Tensor) -> Tensor:
        """Map logits to risks."""
        return torch.sigmoid(self.inverse_temperature.to(risk_logits) * risk_logits)
