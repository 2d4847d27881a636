"""The risk and the gate for use at every environment step, where the overhead of tensor operations would show.

Each function freezes a fitted module into a few NumPy operations on some worlds at once; what they return is what the
module returns, up to rounding in the last digit. Made anew after each fit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rrl.risk.calibration_maps import HistogramBinning
from rrl.risk.calibrator import RiskCalibrator
from rrl.risk.gate import RiskGate
from rrl.risk.predictors import FEATURE_BOUND, LogisticRiskModel


def fast_risk(calibrator: RiskCalibrator) -> Callable[[Tensor], Tensor]:
    """Freeze a calibrator.

    Args:
        calibrator: On the CPU.

    Returns:
        Maps observations ``[N, O]`` to calibrated risks ``[N]``. The calibrator itself where there is no shorter way
        than its own: only the default, a logistic model with histogram binning, has one.

    Example:
        >>> calibrator = RiskCalibrator(LogisticRiskModel(obs_dim=1), HistogramBinning())
        >>> fit = calibrator.fit(
        ...     torch.linspace(0, 1, 90).unsqueeze(1),
        ...     torch.arange(90) % 7 > 3,
        ...     torch.arange(90) // 9,
        ...     held_out=torch.arange(90) >= 72,
        ...     generator=torch.Generator(),
        ... )
        >>> new = torch.rand(5, 1)
        >>> torch.allclose(fast_risk(calibrator)(new), calibrator(new))
        True
    """
    predictor, bins = calibrator.predictor, calibrator.calibration_map
    if not (isinstance(predictor, LogisticRiskModel) and isinstance(bins, HistogramBinning)) or predictor.degenerate:
        return calibrator
    size = predictor.obs_dim
    mean, std = predictor.feature_mean.numpy().astype(np.float64), predictor.feature_std.numpy().astype(np.float64)
    weights, bias = np.split(predictor.coefficients.numpy(), [-1])
    linear, squared = weights[:size], weights[size:] / std[size:]
    bias = bias - squared @ mean[size:]
    edges, rates, filled = bins.edges[1:-1].numpy(), bins.rates.numpy(), bins.counts.numpy() > 0

    def risk(observations: Tensor) -> Tensor:
        features = (observations.numpy() - mean[:size]) / std[:size]
        features = np.minimum(np.maximum(features, -FEATURE_BOUND), FEATURE_BOUND)
        logits = features @ linear + bias
        if predictor.squares:
            logits += (features * features) @ squared
        raw = 1.0 / (1.0 + np.exp(-logits))
        index = edges.searchsorted(raw)
        return torch.from_numpy(np.where(filled[index], rates[index], raw).astype(np.float32))

    return risk


def fast_gate(gate: RiskGate) -> Callable[[Tensor, Tensor], Tensor]:
    """Freeze a gate.

    Args:
        gate: On the CPU.

    Returns:
        Maps risks and uniform draws ``[N]``, float32, to where the gate is open, as the gate itself does.

    Example:
        >>> gate = RiskGate("fixed", threshold=0.2, exploration=0.0)
        >>> gate.update(torch.tensor([0.1]), base_rate=0.5)
        >>> fast_gate(gate)(torch.tensor([0.1, 0.3]), torch.tensor([0.5, 0.5]))
        tensor([False,  True])
    """
    if not gate.fitted:
        return gate
    # In float32 throughout, as the gate: a risk that equals the threshold must stay equal to it.
    threshold = np.float32(float(gate.threshold))
    below = np.float32(float((1.0 - gate.exploration) * gate.skill.float()))
    at_threshold = below * np.float32(float(1.0 - gate.tie_probability.float()))

    def is_open(risk: Tensor, uniforms: Tensor) -> Tensor:
        risks, draws = risk.numpy(), uniforms.numpy()
        return torch.from_numpy((risks > threshold) | (draws >= np.where(risks == threshold, at_threshold, below)))

    return is_open
