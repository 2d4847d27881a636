"""Trust region policy optimisation: `trpo_step`, and its settings, `TrustRegion`."""

from rrl.trpo.conjugate_gradient import conjugate_gradient
from rrl.trpo.step import (
    TrustRegionStep,
    assign,
    backtracking_line_search,
    entropy_bonus,
    sample_shares,
    surrogate_objective,
    trpo_step,
)
from rrl.trpo.trust_region import TrustRegion, TrustRegionOptimizer

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
