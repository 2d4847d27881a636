"""The one number that says how hard to guide, and the controllers that set it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rrl.checks import require_positive, require_within
from rrl.diffusion.path_divergence import kl_budget

MAX_STEP = 1.0
"""Largest change of the logarithm of the strength in one update; one odd batch must not throw it off."""
LOG_BOUND = 10.0
"""Bound of the logarithm of the strength; holds it where a control target cannot be reached."""
TINY = 1e-12
"""Guard of logarithms and divisions; a return model without any gradient must raise the strength, not give NaN."""


class GuidanceStrength(nn.Module):
    """Strength of the tilt ``exp(-strength * Z)``, with ``Z`` standardised; adapted by integral control.

    Args:
        initial: Strength before the first update, positive.
        gain: Fraction of the control error that one update removes, in ``(0, 1]``.
    """

    log_strength: Tensor
    """Logarithm of the strength. Scalar."""

    def __init__(self, initial: float = 1.0, gain: float = 0.5) -> None:
        super().__init__()
        require_positive(initial=initial)
        require_within("(0, 1]", gain=gain)
        self.gain = gain
        self.register_buffer("log_strength", torch.tensor(initial).log())

    @property
    def value(self) -> Tensor:
        """The strength, per standard deviation of the return. Scalar."""
        return self.log_strength.exp()

    def update_to_kl(self, path_kl: Tensor, alpha: float) -> None:
        """Adapt the strength so that guidance spends the budget ``ln(1 / alpha)``.

        The divergence grows with the square of the strength, so half the logarithm of their ratio is the error.

        Args:
            path_kl: Mean relative entropy of the guided paths, in nats. Scalar.
            alpha: Tail level in ``(0, 1)``; 1 lowers the strength as fast as allowed.
        """
        budget = max(kl_budget(alpha), TINY)
        self._add(0.5 * self.gain * (math.log(budget) - path_kl.clamp(min=TINY).log()), upper=LOG_BOUND)

    def update_to_cvar(self, guided_mean: Tensor, cvar: Tensor, spread: Tensor, alpha: float) -> None:
        """Adapt the strength so that the guided mean return is the CVaR of the unguided returns.

        Args:
            guided_mean: Mean standardised return of guided trajectories. Scalar.
            cvar: CVaR at level ``alpha`` of the standardised returns of unguided trajectories. Scalar.
            spread: Standard deviation of the standardised returns of unguided trajectories. Scalar.
            alpha: Tail level in ``(0, 1]``.
        """
        spread = spread.nan_to_num().clamp(min=TINY)
        # Twice the strength that exhausts the KL ball for Gaussian returns is more than any CVaR needs.
        upper = (2.0 * math.sqrt(2.0 * max(kl_budget(alpha), TINY)) / spread).log()
        self._add(self.gain * (guided_mean - cvar) / spread, upper=upper)

    def _add(self, change: Tensor, *, upper: Tensor | float) -> None:
        """Add a change to the logarithm; what is not a number lowers it."""
        change = change.nan_to_num(nan=-MAX_STEP).clamp(-MAX_STEP, MAX_STEP)
        self.log_strength.copy_((self.log_strength + change).clamp(-LOG_BOUND, LOG_BOUND).clamp(max=upper))
