"""Real and imagined transitions in one policy update, each source with its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rrl.types import RolloutBatch


def mix_real_and_imagined(
    real: RolloutBatch, imagined: Sequence[RolloutBatch], real_fraction: float
) -> list[RolloutBatch]:
    """Weight the transitions of both sources so that the real ones make up their share of the policy update.

    Args:
        real: Real transitions, of shape ``[T, N, ...]``.
        imagined: Imagined transitions, each of a shape of its own. Those of weight 0 stay out.
        real_fraction: Share of the real transitions in the sum of the weights, in ``[0, 1]``.

    Returns:
        The real transitions first, unless their share is 0, then the imagined ones. The weights add to 1 unless
        there is nothing imagined; those in the fit of the value function stay as they are.
    """
    # Where every imagined transition has been dropped, the sum of their weights is 0.
    imagined_total = torch.stack([batch.weights.sum() for batch in imagined]).sum().clamp(min=1.0)
    sources = [] if real_fraction == 0.0 else [_weighted(real, real_fraction / real.weights.sum())]
    return sources + [_weighted(batch, (1.0 - real_fraction) / imagined_total) for batch in imagined]


def _weighted(batch: RolloutBatch, scale: Tensor) -> RolloutBatch:
    return replace(batch, weights=batch.weights * scale)
