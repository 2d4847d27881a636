"""Real and imagined transitions in one policy update, each source with its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rrl.checks import require_not_negative, require_within
from rrl.types import RolloutBatch


@dataclass(frozen=True, kw_only=True)
class Imagination:
    """When imagined data are used, and how many of them."""

    real_fraction: float = 0.5
    """Share of the real rollout in the policy update; ``0`` in the paper, where the policy stays as it is before the
    warm-up."""
    guided_fraction: float = 0.5
    """Share of guided trajectories among the imagined; ``1`` in the paper."""
    warmup: int = 5_000
    """Real environment steps before imagined data are used at all."""
    guidance_warmup: int = 10_000
    """Real environment steps before trajectories are guided."""
    value_from_imagination: bool = False
    """Fit the value function on the mixture; on the real rollout alone otherwise. True in the paper. Imagined targets
    are mostly the value function's own predictions, and its errors feed on them."""

    def __post_init__(self) -> None:
        """Refuse shares that are none, and a value function without data."""
        require_within("[0, 1]", real_fraction=self.real_fraction, guided_fraction=self.guided_fraction)
        require_not_negative(warmup=self.warmup, guidance_warmup=self.guidance_warmup)
        if self.real_fraction == 0.0 and not self.value_from_imagination:
            raise ValueError("`value_from_imagination` must be true where `real_fraction` is 0, got false.")


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
