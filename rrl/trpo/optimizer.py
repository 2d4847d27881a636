"""The TRPO step as Lightning sees it: an optimiser whose closure does the whole step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer


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
