"""Calibrated failure risk: which states lead to a failure, how sure one can be, and where the adversary may push.

==========================  ==============================================================================
`labels`                    failure labels by horizon, by return threshold, by batch quantile
`return_threshold`          the failure threshold of the paper's Algorithm 1
`trajectories`              which states belong together: identifiers, held-out split, histories
`buffer`                    `LabelledStates`: the data of the last iterations
`predictors`                `LogisticRiskModel`, and the base of all predictors
`logistic_regression`       the convex fit, and the paper's stochastic one
`networks`                  `MLPRiskModel`, `EnsembleRiskModel`
`sequence`                  `GRURiskModel`
`calibration_maps`          `HistogramBinning` (the paper's Algorithm 2), and the base of all maps
`scaling`                   `PlattScaling`, `TemperatureScaling`
`isotonic`                  `IsotonicCalibration`
`calibrator`                `RiskCalibrator`: predictor and map, fitted to different trajectories
`gate`                      `RiskGate`: risk -> may the adversary push?
`bins`                      bins of equal width and of equal mass
`reliability`               reliability curve and calibration errors
`metrics`                   Brier score, likelihood, ranking, and `risk_metrics`, the collection that is logged
`bootstrap`                 confidence intervals that resample trajectories
`diagram`                   reliability curves with their bands
`fast`                      risk and gate as one rule, for use at every environment step
`options`                   all of the above as plain records: what a configuration says
==========================  ==============================================================================
"""

from rrl.risk.bootstrap import Interval, bootstrap_by_trajectory
from rrl.risk.buffer import LabelledStates
from rrl.risk.calibration_maps import CalibrationMap, HistogramBinning, IdentityCalibration
from rrl.risk.calibrator import CalibratorFit, RiskCalibrator
from rrl.risk.diagram import ReliabilityBand, ScoredStates, reliability_band
from rrl.risk.gate import GateEvidence, RiskGate
from rrl.risk.isotonic import IsotonicCalibration
from rrl.risk.labels import (
    FailureLabels,
    failure_labels_batch_quantile,
    failure_labels_below_return,
    failure_labels_within_horizon,
    trajectory_returns,
)
from rrl.risk.metrics import BrierScore, NegativeLogLikelihood, brier_skill_score, risk_metrics
from rrl.risk.networks import EnsembleRiskModel, MLPRiskModel
from rrl.risk.options import GateOptions, LabelOptions, RiskModelOptions
from rrl.risk.predictors import LogisticRiskModel, RiskPredictor
from rrl.risk.reliability import (
    EqualMassCalibrationError,
    EqualWidthCalibrationError,
    Reliability,
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from rrl.risk.return_threshold import ReturnThreshold
from rrl.risk.scaling import PlattScaling, TemperatureScaling
from rrl.risk.sequence import GRURiskModel
from rrl.risk.trajectories import (
    TrajectoryNumbering,
    hold_out_newest,
    hold_out_trajectories,
    push_history,
    stack_history,
    trajectory_ids,
)

__all__ = [
    "BrierScore",
    "CalibrationMap",
    "CalibratorFit",
    "EnsembleRiskModel",
    "EqualMassCalibrationError",
    "EqualWidthCalibrationError",
    "FailureLabels",
    "GRURiskModel",
    "GateEvidence",
    "GateOptions",
    "HistogramBinning",
    "IdentityCalibration",
    "Interval",
    "IsotonicCalibration",
    "LabelOptions",
    "LabelledStates",
    "LogisticRiskModel",
    "MLPRiskModel",
    "NegativeLogLikelihood",
    "PlattScaling",
    "Reliability",
    "ReliabilityBand",
    "ReliabilityCurve",
    "ReturnThreshold",
    "RiskCalibrator",
    "RiskGate",
    "RiskModelOptions",
    "RiskPredictor",
    "ScoredStates",
    "TemperatureScaling",
    "TrajectoryNumbering",
    "bootstrap_by_trajectory",
    "brier_skill_score",
    "expected_calibration_error",
    "failure_labels_batch_quantile",
    "failure_labels_below_return",
    "failure_labels_within_horizon",
    "hold_out_newest",
    "hold_out_trajectories",
    "push_history",
    "reliability_band",
    "reliability_curve",
    "risk_metrics",
    "stack_history",
    "trajectory_ids",
    "trajectory_returns",
]
