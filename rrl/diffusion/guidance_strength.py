"""How hard to guide: the divergence that guidance costs, and the controllers of its one number."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rrl.checks import require_positive, require_within


def kl_budget(alpha: float) -> float:
    """Give the relative entropy ``ln(1 / alpha)``, in nats, that a tail level in ``(0, 1]`` allows.

    Example:
        >>> round(kl_budget(0.1), 4)
        2.3026
        >>> kl_budget(1.0)
        0.0
    """
    require_within("(0, 1]", alpha=alpha)
    return math.log(1.0 / alpha)


def path_divergence(shift: Tensor, std: float) -> Tensor:
    """Give the relative entropy of a shifted reverse step to the unshifted one.

    Args:
        shift: Shift of the mean. Shape ``[B, H, D]``.
        std: Standard deviation of the step, positive.

    Returns:
        ``|shift|^2 / (2 std^2)`` in nats. Shape ``[B]``.

    Example:
        >>> import torch
        >>> path_divergence(torch.tensor([[[3.0, 4.0]]]), std=5.0)
        tensor([0.5000])
    """
    return 0.5 * (shift / std).square().sum(dim=(1, 2))


def log_likelihood_ratio(shift: Tensor, noise: Tensor, std: float) -> Tensor:
    """Give the logarithm of how much likelier a shifted reverse step made its outcome.

    The outcome is ``mean + shift + std * noise``, with standard normal noise.

    Returns:
        ``ln xi`` of the step in nats; its mean is ``path_divergence``. Shape ``[B]``.

    Example:
        >>> import torch
        >>> log_likelihood_ratio(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 1.0]]]), std=5.0)
        tensor([1.3000])

    References:
        AD-RRL, lemma 4.2 (there in terms of the outcome, here of the noise).
    """
    return (shift * noise).sum(dim=(1, 2)) / std + path_divergence(shift, std)


def worst_of_m_divergence(m: int) -> float:
    """Give the relative entropy of the worst of ``m`` draws to a single draw.

    The worst of ``m`` has the density ratio ``m (1 - F)^(m - 1)`` to a single draw, where ``F`` is the share of draws
    with a lower return: at most ``m``. The result is the mean of its logarithm. It is exact where no two draws have the
    same return, and an upper bound otherwise.

    Args:
        m: Draws, at least 1.

    Returns:
        ``ln m - (m - 1) / m`` in nats, less than the budget ``ln m`` of the tail level ``1 / m``.

    Example:
        >>> round(worst_of_m_divergence(10), 4)
        1.4026
        >>> worst_of_m_divergence(1)
        0.0
    """
    return math.log(m) - (m - 1) / m


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
