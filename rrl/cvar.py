"""Tail statistics of returns: the conditional value-at-risk of the lower tail."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrl.checks import require_within


def empirical_cvar(returns: Tensor, alpha: float) -> Tensor:
    r"""Estimate the lower-tail conditional value-at-risk (CVaR) of a batch of returns.

    .. math::
        \mathrm{CVaR}_\alpha(Z) = \frac{1}{\alpha} \int_0^\alpha \mathrm{VaR}_u(Z) \, du, \quad
        \mathrm{VaR}_u(Z) = \inf \{ z : F(z) \ge u \}

    This is the mean of the worst :math:`\alpha N` of the :math:`N` returns. Where :math:`\alpha N` is not whole, the
    sample on the boundary counts in part, so the estimate is continuous and non-decreasing in ``alpha``, and
    ``alpha=1`` gives the mean.

    Args:
        returns: Undiscounted episode returns, in units of reward. Shape ``[N]``, ``N >= 1``, in any order.
        alpha: Fraction of the episodes that form the tail, in ``(0, 1]``. Smaller is more pessimistic.

    Returns:
        Scalar tensor of the dtype and on the device of ``returns``. Differentiable with respect to ``returns``.

    Raises:
        ValueError: If ``returns`` is empty or not one-dimensional, or if ``alpha`` is outside ``(0, 1]``.

    Example:
        >>> returns = torch.tensor([4.0, 1.0, 3.0, 2.0])
        >>> empirical_cvar(returns, alpha=0.5)
        tensor(1.5000)
        >>> empirical_cvar(returns, alpha=1.0)
        tensor(2.5000)

    References:
        Rockafellar and Uryasev, "Optimization of conditional value-at-risk", Journal of Risk 2, 2000. The tests check
        the estimate against the variational form of their Theorem 1.
    """
    if returns.ndim != 1 or returns.numel() == 0:
        raise ValueError(f"`returns` must have shape [N] with N >= 1, got {list(returns.shape)}.")
    require_within("(0, 1]", alpha=alpha)
    tail_size = alpha * returns.numel()
    worst_first = returns.sort().values
    # The k-th worst sample has the weight of the part of it that lies inside the tail.
    weights = (tail_size - torch.arange(math.ceil(tail_size)).to(returns)).clamp(max=1.0)
    return (weights * worst_first[: weights.numel()]).sum() / tail_size
