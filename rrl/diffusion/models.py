"""Denoiser and judge of returns as they are trained: on the same windows, each with a moving average."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rrl.diffusion.denoiser import Denoiser
from rrl.diffusion.guidance_rules import Judge
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.quantiles import QuantileNetwork, locate, pinball_loss, quantile_features
from rrl.diffusion.returns import TargetScale, ema_update
from rrl.diffusion.scheduler import NoiseSchedule
from rrl.distributed import all_reduce_sum, average_gradients
from rrl.types import WindowBatch


class TrajectoryModels(nn.Module):
    """What is trained, and the moving averages of it, which imagine.

    Args:
        normalizer: Scale of the models.
        schedule: Noise levels to train on.
        denoiser: Untrained.
        judge: Untrained; None where nothing needs one.
        ema_decay: Decay of the moving averages, in ``[0, 1)``; the first updates decay faster.
    """

    updates: Tensor
    """Gradient steps so far. Scalar."""

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
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

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
        gains, judge_loss = self.gain_scale.standardize(gains), gains.new_zeros(())
        told = gains.new_zeros(len(gains), 0)
        noise = (self.schedule, self.generator())
        if isinstance(self.judge, QuantileNetwork):
            quantiles = self.judge(*self._encode(windows))
            judge_loss = pinball_loss(quantiles, gains)
            told = quantile_features(locate(quantiles.detach(), gains, self.generator()))
        elif self.judge is not None:
            judge_loss = self.judge.loss(windows, self.normalizer, gains, *noise)
        loss = self.denoiser.loss(windows, self.normalizer, told, *noise)
        optimizer.zero_grad()
        (loss + judge_loss).backward()
        average_gradients(self.trained_parameters())
        optimizer.step()
        self.updates += 1
        # Shorter at first: an average that still holds the untrained network imagines worse than the newest.
        decay = ((1 + self.updates) / (10 + self.updates)).clamp(max=self.ema_decay)
        ema_update(self.denoiser_average, self.denoiser, decay)
        if self.judge is not None and self.judge_average is not None:
            ema_update(self.judge_average, self.judge, decay)
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
        gains, told = self.gain_scale.standardize(gains), gains.new_zeros(len(gains), 0)
        metrics, judge, (actions, start) = {}, self.judge_average, self._encode(windows)
        if isinstance(judge, QuantileNetwork):
            quantile = locate(judge(actions, start), gains, self.generator())
            metrics["lower_half"] = (quantile < 0.5).float().mean()
            told = quantile_features(quantile)
        elif judge is not None:
            lowest = gains.new_full(gains.shape, self.schedule.sigmas[-2])
            x0 = self.normalizer.encode(windows)[..., : self.normalizer.obs_dim]
            metrics["return_correlation"] = _correlation(judge(x0, actions, start, lowest), gains)
        loss = self.denoiser_average.loss(windows, self.normalizer, told, self.schedule, self.generator())
        return {"heldout_loss": loss, **metrics}

    def _encode(self, windows: WindowBatch) -> tuple[Tensor, Tensor]:
        """Bring actions and start states of windows to the scale of the models."""
        normalizer = self.normalizer
        return normalizer.encode_actions(windows.actions), normalizer.encode_start(windows.observations[:, 0])


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Give Pearson's correlation; 0 where one of both is constant."""
    first, second = first - first.mean(), second - second.mean()
    scale = first.norm() * second.norm()
    return torch.where(scale > 0.0, (first * second).sum() / scale.clamp(min=1e-12), 0.0)
