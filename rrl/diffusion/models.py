"""Denoiser and return model as they are trained: on the same noisy windows, each with a moving average."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rrl.diffusion.denoiser import Denoiser, add_noise
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.returns import ReturnModel, ema_update
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
        return_model: Untrained.
        ema_decay: Decay of the moving averages, in ``[0, 1)``.
    """

    def __init__(
        self,
        normalizer: TrajectoryNormalizer,
        schedule: NoiseSchedule,
        denoiser: Denoiser,
        return_model: ReturnModel,
        *,
        ema_decay: float,
    ) -> None:
        super().__init__()
        self.normalizer, self.schedule, self.ema_decay = normalizer, schedule, ema_decay
        self.denoiser, self.return_model = denoiser, return_model
        self.denoiser_average = copy.deepcopy(denoiser).requires_grad_(False)
        self.return_average = copy.deepcopy(return_model).requires_grad_(False)

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of denoiser and return model, without their averages."""
        return [*self.denoiser.parameters(), *self.return_model.parameters()]

    def generator(self) -> torch.Generator:
        """Return the framework's own generator, which Lightning seeds and checkpoints restore."""
        device = self.normalizer.action_low.device
        if device.type == "cpu":
            return torch.default_generator
        generator: torch.Generator = torch.get_device_module(device).default_generators[device.index]
        return generator

    def train_step(self, windows: WindowBatch, targets: Tensor, optimizer: Optimizer) -> Tensor:
        """Take one gradient step of both models.

        Args:
            windows: Windows of real experience.
            targets: What the return model learns, in reward units. Shape ``[B]``.
            optimizer: Over :meth:`trained_parameters`.

        Returns:
            The losses of denoiser and return model. Shape ``[2]``.
        """
        self.normalizer.update(all_reduce_sum(self.normalizer.statistics(windows)))
        self.return_model.update(all_reduce_sum(self.return_model.statistics(targets)))
        encoded = self._encode(windows)
        noisy, sigma = self._noise(encoded)
        loss = self._denoising_loss(self.denoiser, encoded, noisy, sigma)
        predicted = self.return_model(noisy[..., : encoded.start.shape[-1]], encoded.actions, encoded.start, sigma)
        return_loss = (predicted - self.return_model.standardize(targets)).square().mean()
        optimizer.zero_grad()
        (loss + return_loss).backward()
        average_gradients(self.trained_parameters())
        optimizer.step()
        ema_update(self.denoiser_average, self.denoiser, self.ema_decay)
        ema_update(self.return_average, self.return_model, self.ema_decay)
        return torch.stack([loss.detach(), return_loss.detach()])

    @torch.no_grad()
    def heldout(self, windows: WindowBatch, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Judge the averages on windows that have not been trained on.

        Args:
            windows: Fresh windows.
            targets: What the return model should predict, in reward units. Shape ``[B]``.

        Returns:
            Loss of the denoiser, and correlation of predicted and realised returns at the lowest noise.
        """
        encoded = self._encode(windows)
        loss = self._denoising_loss(self.denoiser_average, encoded, *self._noise(encoded))
        lowest = encoded.x0.new_full((len(encoded.x0),), self.schedule.sigmas[-2])
        predicted = self.return_average(encoded.observations, encoded.actions, encoded.start, lowest)
        return loss, _correlation(predicted, targets)

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

    def _denoising_loss(self, denoiser: Denoiser, encoded: EncodedWindows, noisy: Tensor, sigma: Tensor) -> Tensor:
        return denoiser.training_loss(noisy, encoded.actions, encoded.start, sigma, x0=encoded.x0, weights=encoded.mask)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Give Pearson's correlation; 0 where one of both is constant."""
    first, second = first - first.mean(), second - second.mean()
    scale = first.norm() * second.norm()
    return torch.where(scale > 0.0, (first * second).sum() / scale.clamp(min=1e-12), 0.0)
