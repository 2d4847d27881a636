"""How far a model errs on fresh experience, in units of what it takes to be possible."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from rrl.diffusion.guidance import Value, worth_gradient
from rrl.diffusion.rowwise import RowwiseDenoiser, RowwiseSampler
from rrl.distributed import all_reduce_sum
from rrl.types import WindowBatch

NEWEST_WEIGHT = 0.2
"""Weight of the newest windows in the running mean."""
MAX_SPREAD = 10.0
"""Errors count up to as many imagined standard deviations: where a model takes nothing for possible, none would do."""


class ErrorSpread(nn.Module):
    """Running root mean square of the errors of imagined transitions, in standard deviations of what is imagined.

    1 is a model that knows how uncertain it is. Few reverse steps and little training imagine less than can happen, by
    a factor of two to five on locomotion, and a shift by imagined deviations would be too small by that factor.
    """

    squared: Tensor
    """Mean square of the standardised errors. Scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("squared", torch.ones(()))

    @property
    def value(self) -> Tensor:
        """The factor by which what is imagined must be spread to cover what happens. Scalar."""
        return self.squared.sqrt()

    def judge(
        self, windows: WindowBatch, denoiser: RowwiseDenoiser, sampler: RowwiseSampler, value: Value, *, gamma: float
    ) -> None:
        """Take in how far reward and value of what followed lie from what is imagined without noise.

        The spread of what is imagined is that to first order: the length of the gradient with respect to the noise.

        Args:
            windows: Fresh windows, not trained on.
            denoiser: Of the transitions.
            sampler: That imagines with it.
            value: Of what follows.
            gamma: Discount of the value.
        """
        observations, normalizer = windows.observations[:, :-1].flatten(0, 1), sampler.normalizer
        with torch.no_grad():
            worth = windows.rewards[:, :-1].flatten() + gamma * value(windows.observations[:, 1:].flatten(0, 1))
            known = denoiser.remember_windows(windows, normalizer, windows.rewards[:, :0])
        imagine = partial(sampler.imagine_row, denoiser, known.flatten(0, 1)[:, None], observations)
        mean = observations.new_zeros(len(observations), sampler.schedule.num_steps, normalizer.obs_dim + 2)
        predicted, gradient = worth_gradient(mean, imagine, value, gamma=gamma)
        variances = gradient.square().sum(dim=(1, 2)).clamp(min=torch.finfo(gradient.dtype).tiny)
        squares = ((worth - predicted).square() / variances).clamp(max=MAX_SPREAD**2)
        counts = (windows.valid & ~windows.terminated)[:, :-1].flatten()
        total, count = all_reduce_sum(torch.stack([(squares * counts).sum(), counts.sum()]))
        self.squared.lerp_(total / count.clamp(min=1.0), NEWEST_WEIGHT)
