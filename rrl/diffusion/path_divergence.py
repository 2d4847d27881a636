"""How far guided trajectories are from the model's own: the budget, the relative entropy, the likelihood ratio."""

from __future__ import annotations

import math

from torch import Tensor

from rrl.checks import require_within


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
