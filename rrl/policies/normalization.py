"""Running statistics that bring observations and values to a common scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rrl.distributed import all_reduce_sum

CLIP = 10.0
"""Normalised observations are clipped to this many standard deviations, as everyone since OpenAI Baselines does."""


class RunningNormalizer(nn.Module):
    """Standardise observations by the mean and variance of all that were seen.

    The statistics are buffers: they move with the module, are saved with it, and are identical on every rank because
    each update sums over ranks. They are float64, since a float32 sum of squares over millions of observations loses
    the variance of features with a large mean.
    """

    mean: Tensor
    """Mean of each feature. Shape ``[O]``."""
    variance: Tensor
    """Variance of each feature. Shape ``[O]``."""
    count: Tensor
    """Observations seen. Scalar."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, observations: Tensor) -> Tensor:
        """Standardise and clip raw observations ``[..., O]``, in their own dtype."""
        center, scale = self.center_and_scale(observations.dtype)
        return ((observations - center) * scale).clamp(-CLIP, CLIP)

    def center_and_scale(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return what is subtracted from observations, and what the difference is multiplied by. Shapes ``[O]``."""
        # Cast before use: a float64 pass over the data would cost more than the policy network.
        return self.mean.to(dtype), torch.rsqrt(self.variance + 1e-8).to(dtype)

    @torch.no_grad()
    def update(self, observations: Tensor) -> None:
        """Add raw observations ``[..., O]`` of all ranks, the same number on each, to the statistics."""
        samples = observations.reshape(-1, self.mean.numel()).double()
        count = torch.full_like(self.mean, len(samples))
        count, total, squares = all_reduce_sum(torch.stack([count, samples.sum(0), samples.square().sum(0)]))
        batch_mean = total / count
        batch_variance = (squares / count - batch_mean.square()).clamp(min=0.0)
        seen, new = self.count, count[0]
        share = new / (seen + new)
        difference = batch_mean - self.mean
        # Chan, Golub and LeVeque's pooled variance; the first batch replaces the initial unit variance.
        between = difference.square() * share * (1.0 - share)
        self.variance.copy_(self.variance * (1.0 - share) + batch_variance * share + between)
        self.mean.add_(difference * share)
        self.count.add_(new)
