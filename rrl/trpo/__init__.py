"""Trust region policy optimisation.

- ``step``: the TRPO step: surrogate, Fisher-vector product, natural step.
- ``trust_region``: its settings.
- ``conjugate_gradient``: the linear solver.
- ``line_search``: the backtracking line search.
- ``optimizer``: the step as Lightning sees it.
"""

from rrl.trpo.conjugate_gradient import conjugate_gradient
from rrl.trpo.line_search import backtracking_line_search
from rrl.trpo.optimizer import TrustRegionOptimizer
from rrl.trpo.step import (
    TrustRegionPolicy,
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
    "TrustRegionPolicy",
    "TrustRegionStep",
    "assign",
    "backtracking_line_search",
    "conjugate_gradient",
    "entropy_bonus",
    "sample_shares",
    "surrogate_objective",
    "trpo_step",
]
