"""The unrolled denoising loop that imagines trajectories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from rrl.diffusion.denoiser import DenoiseFunction, apply_conditioning
from rrl.diffusion.guidance import ReverseStep, StepShift
from rrl.diffusion.guidance_strength import log_likelihood_ratio, path_divergence
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.policy_guidance import PolicyFunction, PolicyGuidance, standardized
from rrl.diffusion.quantiles import quantile_features
from rrl.diffusion.scheduler import NoiseSchedule
from rrl.types import TensorBatch


@dataclass(frozen=True)
class ImaginedTrajectories(TensorBatch):
    """What the sampler imagined, in raw units, without graph."""

    observations: Tensor
    """Raw observations; row 0 is the start state to the bit. Shape ``[B, H, O]``."""
    actions: Tensor
    """Actions, not clipped to the action box. Shape ``[B, H, A]``."""
    rewards: Tensor
    """Rewards. Shape ``[B, H]``."""
    ended: Tensor
    """Score of the end of the episode: about 1 where the transition terminates, -1 where not. Shape ``[B, H]``."""
    log_ratio: Tensor
    """Logarithm of the likelihood ratio of the path under guided and unguided model (ln xi), in nats. Of the worst of
    several draws only its mean is known, and is given for all. Shape ``[B]``."""
    path_kl: Tensor
    """Relative entropy of the guided to the unguided path, in nats. Shape ``[B]``."""
    deviations: Tensor
    """Actions as deviations from the policy's mean, in its standard deviations. Shape ``[B, H, A]``."""

    @property
    def action_spread(self) -> Tensor:
        """Standard deviation of the standardised actions; 1 if they are on-policy. Scalar."""
        return self.deviations.std()

    def select(self, index: Tensor) -> Self:
        """Keep the trajectories at some indices ``[B']``."""
        return self.map(lambda column: column[index])


@dataclass(frozen=True)
class TrajectorySampler:
    """Imagines trajectories from given start states by reversing the noise, step by step.

    Args:
        schedule: Noise levels and solver.
        normalizer: Scale of the model; read, never updated.
    """

    schedule: NoiseSchedule
    normalizer: TrajectoryNormalizer

    @torch.no_grad()
    def sample(
        self,
        denoiser: DenoiseFunction,
        policy: PolicyFunction,
        start: Tensor,
        *,
        policy_guidance: PolicyGuidance,
        shift: StepShift | None = None,
        quantile: Tensor | None = None,
        generator: torch.Generator,
    ) -> ImaginedTrajectories:
        """Imagine one trajectory from each start state.

        Args:
            denoiser: Trained denoiser.
            policy: Policy on raw observations.
            start: Raw start states. Shape ``[B, O]``.
            policy_guidance: Rule that keeps the actions on-policy.
            shift: Shifts the reverse steps towards low returns; None does not guide.
            quantile: Of the gain, where the denoiser is told it. Shape ``[B]``.
            generator: Source of randomness, on the device of ``start``.

        Returns:
            Imagined trajectories.
        """
        context = self.normalizer.encode_start(start)
        if quantile is not None:
            context = torch.cat([context, quantile_features(quantile)], dim=1)
        # Data have scale 1, so the noisy prior has the variance 1 + sigma^2.
        sample = self._pin(math.hypot(1.0, self.schedule.sigmas[0]) * self._noise(start, start.shape[1] + 2, generator))
        mean, std = policy(start[:, None].expand(-1, self.normalizer.horizon, -1))
        action_noise = self._noise(start, mean.shape[-1], generator)
        actions = mean + std * action_noise
        log_ratio = path_kl = torch.zeros(start.shape[0], device=start.device)
        x0: Tensor | None = None

        for index in range(self.schedule.num_steps - 1):
            step = self._reverse_step(denoiser, index, sample, x0, self.normalizer.encode_actions(actions), context)
            x0 = step.x0
            noise = self._noise(start, sample.shape[-1], generator)
            sample = step.mean + step.std * noise
            if shift is not None:
                change = shift(step)
                sample = sample + change
                log_ratio = log_ratio + log_likelihood_ratio(change, noise, step.std).float()
                path_kl = path_kl + path_divergence(change, step.std).float()
            sample = self._pin(sample)
            actions = policy_guidance(
                actions,
                policy(self.normalizer.decode(x0, start)[0]),
                noise=action_noise,
                noise_std=self._action_noise_std(step),
                generator=generator,
            )

        # The actions stay as they are in the last step, so that they are those of the states that are returned.
        x0 = self._denoise(denoiser, sample, self.normalizer.encode_actions(actions), context, -2)
        observations, rewards, ended = self.normalizer.decode(x0, start)
        deviations = standardized(actions, policy(observations))
        return ImaginedTrajectories(observations, actions, rewards, ended, log_ratio, path_kl, deviations)

    def _reverse_step(
        self,
        denoiser: DenoiseFunction,
        index: int,
        sample: Tensor,
        previous_x0: Tensor | None,
        actions: Tensor,
        context: Tensor,
    ) -> ReverseStep:
        """Denoise a sample and say where the next one lies."""
        x0 = self._denoise(denoiser, sample, actions, context, index)
        mean, std = self.schedule.reverse_step(index, sample, x0, previous_x0)
        sigma, next_sigma = self.schedule.sigmas[index : index + 2]
        return ReverseStep(self.schedule.num_steps, sample, x0, mean, std, sigma, next_sigma, actions, context)

    def _denoise(
        self, denoiser: DenoiseFunction, sample: Tensor, actions: Tensor, context: Tensor, index: int
    ) -> Tensor:
        """Estimate the clean trajectories behind a sample."""
        sigma = sample.new_full(sample.shape[:1], self.schedule.sigmas[index])
        return self._pin(denoiser(sample, actions, context, sigma))

    def _pin(self, trajectories: Tensor) -> Tensor:
        """Pin row 0: trajectories hold differences from the start state, which are zero there."""
        return apply_conditioning(trajectories, trajectories.new_zeros(self.normalizer.obs_dim))

    def _noise(self, start: Tensor, num_features: int, generator: torch.Generator) -> Tensor:
        """Draw standard normal noise for every row."""
        shape = (start.shape[0], self.normalizer.horizon, num_features)
        return torch.randn(shape, generator=generator, device=start.device, dtype=start.dtype)

    def _action_noise_std(self, step: ReverseStep) -> Tensor:
        """Give the DDPM's noise of a step, in raw action units."""
        return step.std / math.hypot(1.0, step.next_sigma) * self.normalizer.action_half_width
