"""The settings of a TRPO step, and the step as Lightning sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

from rrl.checks import require_at_least, require_not_negative, require_positive, require_within


@dataclass(frozen=True, kw_only=True)
class TrustRegion:
    """How far and how a policy may step.

    Bound and damping are given per action dimension, since the divergence of a Gaussian policy and its Fisher matrix
    add over the dimensions: what is right for one joint is then right for six. It is what sb3-contrib does in effect,
    by averaging over the dimensions, and its values are the defaults.
    """

    max_kl: float = 0.01
    """Bound on the mean KL divergence, nats per action dimension. The TRPO paper bounds the sum by ``0.01``."""
    final_max_kl: float | None = None
    """The bound at the end of the training, to which it falls linearly; the same throughout where None. Needs a fixed
    number of epochs; a run that is continued with another number shrinks towards its new end. Steps that help a bad
    policy shake a good one: its return jumps from one step to the next."""
    cg_iterations: int = 15
    """Conjugate-gradient steps."""
    cg_damping: float = 0.1
    """Multiple of the identity that is added to the Fisher matrix, per action dimension. Too little lets the step go
    far where the sampled matrix is flat: a Walker2d, with six dimensions, then hardly learns."""
    backtrack_ratio: float = 0.8
    """Factor between two tries of the line search, in ``(0, 1)``."""
    max_backtracks: int = 10
    """Tries of the line search."""
    fisher_fraction: float = 0.25
    """Share of the samples, drawn at random, on which the Fisher matrix is computed, in ``(0, 1]``. It only shapes the
    direction; the line search holds the bound on all samples. ``0.1`` in the TRPO paper."""
    entropy_weight: float = 0.0
    """Weight of the policy's entropy in the objective, in standardised advantages per nat; not in the TRPO paper."""

    def __post_init__(self) -> None:
        require_positive(
            max_kl=self.max_kl, **({} if self.final_max_kl is None else {"final_max_kl": self.final_max_kl})
        )
        require_at_least(1, cg_iterations=self.cg_iterations, max_backtracks=self.max_backtracks)
        require_not_negative(cg_damping=self.cg_damping, entropy_weight=self.entropy_weight)
        require_within("(0, 1)", backtrack_ratio=self.backtrack_ratio)
        require_within("(0, 1]", fisher_fraction=self.fisher_fraction)

    def at(self, progress: float) -> TrustRegion:
        """Return the region after a share ``progress``, in ``[0, 1]``, of the training.

        Example:
            >>> TrustRegion(max_kl=0.02, final_max_kl=0.01).at(0.5).max_kl
            0.015
        """
        if self.final_max_kl is None:
            return self
        bound = (1.0 - progress) * self.max_kl + progress * self.final_max_kl
        return replace(self, max_kl=bound, final_max_kl=None)


class TrustRegionOptimizer(Optimizer):
    """An optimiser without arithmetic of its own: ``step(closure)`` runs the closure, which calls ``trpo_step``.

    Lightning counts ``global_step`` and writes checkpoints by the optimiser steps it sees; a policy that changes
    behind its back would never be saved.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        super().__init__(parameters, defaults={})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run the closure, and return what it does."""
        if closure is None:
            raise ValueError("`closure` must be given: it performs the TRPO step.")
        return closure()
