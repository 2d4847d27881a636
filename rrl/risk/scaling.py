"""Parametric calibration maps: Platt's affine map of the logit, and temperature scaling."""

from __future__ import annotations

import torch
from torch import Tensor

from rrl.risk.calibration import CalibrationMap
from rrl.risk.logistic_regression import fit_logistic_newton

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
