"""Calibrated failure risk: which states lead to a failure, how sure one can be, and where the adversary may push.

A run holds one `RiskLearner` (`learner`), which brings the labels, predictor, calibration and gate together.
"""

from rrl.risk.calibration import Histogram
from rrl.risk.calibrator import RiskCalibrator
from rrl.risk.force_control import ForceControl
from rrl.risk.gate import AdaptiveBudget, BaseRateThreshold, Budget, FixedThreshold, Gate, RiskGate
from rrl.risk.label_sources import AttackReturnLabels, HorizonLabels, LabelSource, QuantileLabels, ReturnLabels
from rrl.risk.learner import RiskLearner, RiskModel, gate_metrics
from rrl.risk.metrics import ReliabilityBand, ScoredStates, reliability_band
from rrl.risk.networks import GRU, MLP
from rrl.risk.predictors import Logistic, StochasticLogistic
from rrl.risk.restarts import Restarts
from rrl.risk.shaping import Shaping, potential_shaping
from rrl.risk.starts import Starts

__all__ = [
    "GRU",
    "MLP",
    "AdaptiveBudget",
    "AttackReturnLabels",
    "BaseRateThreshold",
    "Budget",
    "FixedThreshold",
    "ForceControl",
    "Gate",
    "Histogram",
    "HorizonLabels",
    "LabelSource",
    "Logistic",
    "QuantileLabels",
    "ReliabilityBand",
    "Restarts",
    "ReturnLabels",
    "RiskCalibrator",
    "RiskGate",
    "RiskLearner",
    "RiskModel",
    "ScoredStates",
    "Shaping",
    "Starts",
    "StochasticLogistic",
    "gate_metrics",
    "potential_shaping",
    "reliability_band",
]
