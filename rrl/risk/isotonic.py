"""Isotonic calibration: the best non-decreasing map, by pooling adjacent violators."""

from __future__ import annotations

import torch
from torch import Tensor

from rrl.risk.calibration_maps import CalibrationMap


class IsotonicCalibration(CalibrationMap):
    """The non-decreasing map of the raw probability with the smallest squared error, linear between its knots.

    Where the pooled blocks have more knots than fit, evenly chosen ones are kept: still non-decreasing, no longer
    exactly optimal. One class alone would make every risk exactly 0 or 1; the map then is the identity.

    Args:
        max_knots: Number of knots that the buffers hold, at least 2.

    Raises:
        ValueError: If ``max_knots`` is smaller than 2.

    Example:
        >>> calibration = IsotonicCalibration()
        >>> calibration.fit(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([True, False, True]))
        >>> calibration(torch.tensor([-2.0, -0.5, 2.0]))
        tensor([0.5000, 0.5000, 1.0000])

    References:
        Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """

    knots: Tensor
    """Raw probabilities, ascending; the last one is repeated to the end. Shape ``[max_knots]``, float64."""
    values: Tensor
    """Calibrated risks at the knots, ascending. Shape ``[max_knots]``, float64."""

    def __init__(self, max_knots: int = 1024) -> None:
        super().__init__()
        if max_knots < 2:
            raise ValueError(f"`max_knots` must be at least 2, got {max_knots}.")
        self.register_buffer("knots", torch.linspace(0.0, 1.0, max_knots, dtype=torch.float64))
        self.register_buffer("values", torch.linspace(0.0, 1.0, max_knots, dtype=torch.float64))

    def fit_map(self, risk_logits: Tensor, labels: Tensor) -> None:
        """Set the knots from logits ``[M]`` and labels ``[M]``."""
        if labels.all() or not labels.any():
            self.reset()
            return
        raw, position, counts = torch.unique(risk_logits.sigmoid(), return_inverse=True, return_counts=True)
        rates = torch.zeros_like(raw).index_add_(0, position, labels.to(raw)) / counts
        fitted = pool_adjacent_violators(rates, counts.to(raw))
        # Inside a block the map is flat: only its ends are needed.
        is_end = torch.ones_like(raw, dtype=torch.bool)
        is_end[1:-1] = (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:])
        kept = is_end.nonzero().squeeze(1)
        choice = torch.linspace(0, kept.numel() - 1, self.knots.numel(), dtype=torch.float64).round().long()
        if kept.numel() <= self.knots.numel():
            choice = torch.arange(self.knots.numel()).clamp(max=kept.numel() - 1)
        self.knots.copy_(raw[kept[choice]])
        self.values.copy_(fitted[kept[choice]])

    def reset(self) -> None:
        """Put the knots on the diagonal."""
        self.knots.copy_(torch.linspace(0.0, 1.0, self.knots.numel(), dtype=torch.float64))
        self.values.copy_(self.knots)

    def forward(self, risk_logits: Tensor) -> Tensor:
        """Map logits of any shape to risks in ``[0, 1]``; beyond the outermost knots the map is flat."""
        raw = risk_logits.double().sigmoid().clamp(self.knots[0], self.knots[-1])
        upper = torch.searchsorted(self.knots, raw).clamp(min=1)
        left, right = self.knots[upper - 1], self.knots[upper]
        # Repeated knots enclose an interval of no width.
        share = ((raw - left) / (right - left).clamp(min=torch.finfo(torch.float64).tiny)).clamp(0.0, 1.0)
        return torch.lerp(self.values[upper - 1], self.values[upper], share).to(risk_logits)


def pool_adjacent_violators(values: Tensor, weights: Tensor) -> Tensor:
    """Project a sequence onto the non-decreasing ones in weighted least squares.

    Args:
        values: Sequence. Shape ``[M]``.
        weights: Positive weights. Shape ``[M]``.

    Returns:
        The closest non-decreasing sequence. Shape ``[M]``, of the dtype of ``values``.

    Example:
        >>> pool_adjacent_violators(torch.tensor([1.0, 0.0, 2.0]), torch.ones(3))
        tensor([0.5000, 0.5000, 2.0000])
    """
    means: list[float] = []
    masses: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, mass, length = value, weight, 1
        while means and means[-1] >= mean:
            other = masses.pop()
            mean = (means.pop() * other + mean * mass) / (other + mass)
            mass += other
            length += lengths.pop()
        means.append(mean)
        masses.append(mass)
        lengths.append(length)
    pooled = torch.tensor(means, dtype=values.dtype, device=values.device)
    return pooled.repeat_interleave(torch.tensor(lengths, device=values.device))
