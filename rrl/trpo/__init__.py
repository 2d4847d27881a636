"""Trust region policy optimisation: `trpo_step`, and its settings, `TrustRegion`."""

from rrl.trpo.conjugate_gradient import conjugate_gradient
from rrl.trpo.line_search import backtracking_line_search
from rrl.trpo.optimizer import TrustRegionOptimizer
from rrl.trpo.step import (
    TrustRegionStep,
    assign,
    entropy_bonus,
    sample_shares,
    surrogate_objective,
    trpo_step,
)
from rrl.trpo.trust_region import TrustRegion

__all__ = [
    "TrustRegion",
    "TrustRegionOptimizer",
    "TrustRegionStep",
    "assign",
    "backtracking_line_search",
    "conjugate_gradient",
    "entropy_bonus",
    "sample_shares",
    "surrogate_objective",
    "trpo_step",
]
