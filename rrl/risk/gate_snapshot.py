"""Risk and gate together for use at every environment step, where the overhead of tensor operations would show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rrl.risk.calibration import HistogramBinning
from rrl.risk.calibrator import RiskCalibrator
from rrl.risk.gate import RiskGate
from rrl.risk.predictors import FEATURE_BOUND, LogisticRiskModel

GateDecision = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Observations ``[N, O]``, or histories ``[N, L, O]``, and uniform draws ``[N]`` -> risks, and where one may push."""


def gate_snapshot(calibrator: RiskCalibrator, gate: RiskGate) -> GateDecision:
    """Take a snapshot of calibrator and gate, on the CPU, as one function; build one per rollout.

    A logistic model with histogram binning, the default, takes few values: the bin that a logit falls into decides both
    the risk and the probability with which the gate is shut. That is ten NumPy operations; the modules, which decide
    where there is no shorter way, need fifty. A probability within rounding of a bin's edge may fall on its other side.
    """
    predictor, bins = calibrator.predictor, calibrator.calibration_map

    def by_modules(observations: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        risk = signal_of(calibrator, gate, observations)
        return risk, gate(risk, uniforms)

    if not (isinstance(predictor, LogisticRiskModel) and isinstance(bins, HistogramBinning)):
        return by_modules
    if predictor.degenerate or gate.settings.signal != "calibrated":
        return by_modules
    risks = bins.rates.float()
    shut = gate.shut_probability(risks).numpy()
    logit_of, table = _quadratic_logit(predictor), risks.numpy()
    edges, filled = bins.edges[1:-1].logit().numpy(), (bins.counts > 0.0).numpy()
    all_filled = bool(filled.all())

    def decide(observations: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        index = edges.searchsorted(logit_of(observations.numpy()))
        if not (all_filled or filled[index].all()):
            return by_modules(observations, uniforms)  # an empty bin passes the raw probability on
        return torch.from_numpy(table[index]), torch.from_numpy(uniforms.numpy() >= shut[index])

    return decide


def signal_of(calibrator: RiskCalibrator, gate: RiskGate, observations: Tensor) -> Tensor:
    """Compute the risk ``[...]`` that the gate looks at for observations ``[..., O]`` or histories ``[..., L, O]``."""
    if gate.settings.signal == "raw":
        return calibrator.raw_risk(observations)
    risk: Tensor = calibrator(observations)
    if gate.settings.signal == "uncertain":
        return 4.0 * risk * (1.0 - risk)
    return risk if gate.settings.signal == "calibrated" else torch.full_like(risk, 0.5)


def _quadratic_logit(predictor: LogisticRiskModel) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Fold standardisation and coefficients into one polynomial of the centred, clipped observations."""
    size = predictor.obs_dim
    mean, std = predictor.feature_mean.numpy().astype(np.float64), predictor.feature_std.numpy().astype(np.float64)
    weights, bias = np.split(predictor.coefficients.numpy(), [-1])
    center, bound = mean[:size], FEATURE_BOUND * std[:size]
    linear, squared = weights[:size] / std[:size], weights[size:] / std[size:]
    bias = bias - squared @ mean[size:]
    squared = squared / std[:size] ** 2 if predictor.squares else np.zeros(size)

    def logit(observations: NDArray[np.float32]) -> NDArray[np.float64]:
        centred = observations - center
        # Half the time of `np.clip`.
        np.minimum(np.maximum(centred, -bound, out=centred), bound, out=centred)
        result: NDArray[np.float64] = centred @ linear + (centred * centred) @ squared + bias
        return result

    return logit
