"""Calibrated failure risk: which states lead to a failure, how sure one can be, and where the adversary may push.

=======================  ==============================================================================
`learner`                `RiskLearner`: what a run does with all of the below on each rollout
`label_sources`          what counts as a failure: `HorizonLabels`, `QuantileLabels`, returns
`labels`                 failure labels by horizon, by return threshold, by batch quantile
`dataset`                `LabelledStates`, the held-out split, histories
`predictors`             `Logistic`, and the base of all predictors
`logistic_regression`    the convex fit, and the paper's stochastic one
`networks`               `MLP`, a deep ensemble of them, `GRU`
`calibration`            `Histogram` (the paper's Algorithm 2), isotonic regression, the base of all maps, bins
`scaling`                Platt and temperature scaling
`calibrator`             `RiskCalibrator`: predictor and map, fitted to different trajectories
`gate`                   `RiskGate`: risk -> may the adversary push? And how its threshold is set
`gate_rule`              risk and gate as one rule, for use at every environment step
`metrics`                `risk_metrics`: the collection that is logged
`reliability`            reliability curves, calibration error, bands that resample trajectories
=======================  ==============================================================================

Settings are frozen dataclasses (`HorizonLabels`, `RiskModel`, `Gate`, ...), which a configuration writes down.
"""

from rrl.risk.calibration import Histogram
from rrl.risk.calibrator import RiskCalibrator
from rrl.risk.gate import AdaptiveBudget, BaseRateThreshold, Budget, FixedThreshold, Gate, RiskGate
from rrl.risk.label_sources import AttackReturnLabels, HorizonLabels, LabelSource, QuantileLabels, ReturnLabels
from rrl.risk.learner import RiskLearner, RiskModel, gate_metrics
from rrl.risk.networks import GRU, MLP
from rrl.risk.predictors import Logistic, StochasticLogistic
from rrl.risk.reliability import ReliabilityBand, ScoredStates, reliability_band

__all__ = [
    "GRU",
    "MLP",
    "AdaptiveBudget",
    "AttackReturnLabels",
    "BaseRateThreshold",
    "Budget",
    "FixedThreshold",
    "Gate",
    "Histogram",
    "HorizonLabels",
    "LabelSource",
    "Logistic",
    "QuantileLabels",
    "ReliabilityBand",
    "ReturnLabels",
    "RiskCalibrator",
    "RiskGate",
    "RiskLearner",
    "RiskModel",
    "ScoredStates",
    "StochasticLogistic",
    "gate_metrics",
    "reliability_band",
]
