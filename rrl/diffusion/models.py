"""Denoiser and judge of returns as they are trained: on the same noisy windows, each with a moving average."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rrl.diffusion.denoiser import Denoiser, add_noise
from rrl.diffusion.guidance_rules import Judge
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.quantiles import QuantileNetwork, locate, pinball_loss, with_quantile
from rrl.diffusion.returns import TargetScale, ema_update
from rrl.diffusion.scheduler import NoiseSchedule
from rrl.distributed import all_reduce_sum, average_gradients
from rrl.types import WindowBatch


class EncodedWindows(NamedTuple):
    """Windows of real experience on the scale of the models."""

    x0: Tensor
    """Clean trajectories. Shape ``[B, H, D]``."""
    mask: Tensor
    """1 where something was observed. Shape ``[B, H, D]``."""
    actions: Tensor
    """Scaled to ``[-1, 1]``. Shape ``[B, H, A]``."""
    start: Tensor
    """Standardised start states. Shape ``[B, O]``."""

    @property
    def observations(self) -> Tensor:
        """Observation part of ``x0``. Shape ``[B, H, O]``."""
        return self.x0[..., : self.start.shape[-1]]


class TrajectoryModels(nn.Module):
    """What is trained, and the moving averages of it, which imagine.

    Args:
        normalizer: Scale of the models.
        schedule: Noise levels to train on.
        denoiser: Untrained.
        judge: Untrained; None where nothing needs one.
        ema_decay: Decay of the moving averages, in ``[0, 1)``.
    """

    def __init__(
        self,
        normalizer: TrajectoryNormalizer,
        schedule: NoiseSchedule,
        denoiser: Denoiser,
        judge: Judge | None,
        *,
        ema_decay: float,
    ) -> None:
        super().__init__()
        self.normalizer, self.schedule, self.ema_decay = normalizer, schedule, ema_decay
        self.denoiser, self.judge = denoiser, judge
        self.denoiser_average = copy.deepcopy(denoiser).requires_grad_(False)
        self.judge_average = None if judge is None else copy.deepcopy(judge).requires_grad_(False)
        self.gain_scale = TargetScale()

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of denoiser and judge, without their averages."""
        return [*self.denoiser.parameters(), *(self.judge.parameters() if self.judge is not None else ())]

    def generator(self) -> torch.Generator:
        """Return the framework's own generator, which Lightning seeds and checkpoints restore."""
        device = self.normalizer.action_low.device
        if device.type == "cpu":
            return torch.default_generator
        generator: torch.Generator = torch.get_device_module(device).default_generators[device.index]
        return generator

    def train_step(self, windows: WindowBatch, gains: Tensor, optimizer: Optimizer) -> Tensor:
        """Take one gradient step of both models.

        Args:
            windows: Windows of real experience.
            gains: What the judge learns, in reward units. Shape ``[B]``.
            optimizer: Over :meth:`trained_parameters`.

        Returns:
            The losses of denoiser and judge; without one, its is 0. Shape ``[2]``.
        """
        self.normalizer.update(all_reduce_sum(self.normalizer.statistics(windows)))
        self.gain_scale.update(all_reduce_sum(self.gain_scale.statistics(gains)))
        encoded, gains = self._encode(windows), self.gain_scale.standardize(gains)
        noisy, sigma = self._noise(encoded)
        context, judge_loss = encoded.start, gains.new_zeros(())
        if isinstance(self.judge, QuantileNetwork):
            quantiles = self.judge(encoded.actions, encoded.start)
            judge_loss = pinball_loss(quantiles, gains)
            context = with_quantile(encoded.start, locate(quantiles.detach(), gains, self.generator()))
        elif self.judge is not None:
            predicted = self.judge(noisy[..., : encoded.start.shape[-1]], encoded.actions, encoded.start, sigma)
            judge_loss = (predicted - gains).square().mean()
        loss = self._denoising_loss(self.denoiser, encoded, context, noisy, sigma)
        optimizer.zero_grad()
        (loss + judge_loss).backward()
        average_gradients(self.trained_parameters())
        optimizer.step()
        ema_update(self.denoiser_average, self.denoiser, self.ema_decay)
        if self.judge is not None and self.judge_average is not None:
            ema_update(self.judge_average, self.judge, self.ema_decay)
        return torch.stack([loss.detach(), judge_loss.detach()])

    @torch.no_grad()
    def heldout(self, windows: WindowBatch, gains: Tensor) -> dict[str, Tensor]:
        """Judge the averages on windows that have not been trained on.

        Args:
            windows: Fresh windows.
            gains: What the judge should predict, in reward units. Shape ``[B]``.

        Returns:
            ``heldout_loss`` of the denoiser, and of a return model ``return_correlation``, that of predicted and
            realised gains at the lowest noise, or of a quantile network ``lower_half``, the share of the windows that
            lie in the lower half of their predicted law.
        """
        encoded, gains = self._encode(windows), self.gain_scale.standardize(gains)
        context, metrics, judge = encoded.start, {}, self.judge_average
        if isinstance(judge, QuantileNetwork):
            quantile = locate(judge(encoded.actions, encoded.start), gains, self.generator())
            metrics["lower_half"] = (quantile < 0.5).float().mean()
            context = with_quantile(encoded.start, quantile)
        elif judge is not None:
            lowest = encoded.x0.new_full((len(encoded.x0),), self.schedule.sigmas[-2])
            predicted = judge(encoded.observations, encoded.actions, encoded.start, lowest)
            metrics["return_correlation"] = _correlation(predicted, gains)
        loss = self._denoising_loss(self.denoiser_average, encoded, context, *self._noise(encoded))
        return {"heldout_loss": loss, **metrics}

    def _encode(self, windows: WindowBatch) -> EncodedWindows:
        return EncodedWindows(
            self.normalizer.encode(windows),
            self.normalizer.mask(windows),
            self.normalizer.encode_actions(windows.actions),
            self.normalizer.encode_start(windows.observations[:, 0]),
        )

    def _noise(self, encoded: EncodedWindows) -> tuple[Tensor, Tensor]:
        """Add noise of random levels; return noisy trajectories and levels."""
        sigma = self.schedule.sample_sigmas(len(encoded.x0), self.generator())
        noise = torch.randn_like(encoded.x0)
        return add_noise(encoded.x0, sigma, noise, obs_dim=encoded.start.shape[-1]), sigma

    @staticmethod
    def _denoising_loss(
        denoiser: Denoiser, encoded: EncodedWindows, context: Tensor, noisy: Tensor, sigma: Tensor
    ) -> Tensor:
        return denoiser.training_loss(noisy, encoded.actions, context, sigma, x0=encoded.x0, weights=encoded.mask)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Give Pearson's correlation; 0 where one of both is constant."""
    first, second = first - first.mean(), second - second.mean()
    scale = first.norm() * second.norm()
    return torch.where(scale > 0.0, (first * second).sum() / scale.clamp(min=1e-12), 0.0)
