"""The unrolled denoising loop that imagines trajectories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rrl.diffusion.conditioning import apply_conditioning
from rrl.diffusion.denoiser import Denoiser
from rrl.diffusion.guidance import Guidance, ReverseStep, log_likelihood_ratio, path_divergence
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.policy_guidance import Policy, PolicyGuidance, action_spread
from rrl.diffusion.scheduler import NoiseSchedule, posterior_variance


class ImaginedTrajectories(NamedTuple):
    """What the sampler imagined, in raw units."""

    observations: Tensor
    """Raw observations; row 0 is the start state to the bit. Shape ``[B, H, O]``."""
    actions: Tensor
    """Actions, not clipped to the action box. Shape ``[B, H, A]``."""
    rewards: Tensor
    """Rewards. Shape ``[B, H]``."""
    ended: Tensor
    """Score of the end of the episode: about 1 where the transition terminates, -1 where not. Shape ``[B, H]``."""
    log_ratio: Tensor
    """Logarithm of the likelihood ratio of the path under guided and unguided model (ln xi), in nats. Shape ``[B]``."""
    path_kl: Tensor
    """Relative entropy of the guided to the unguided path, in nats. Shape ``[B]``."""
    action_spread: Tensor
    """Standard deviation of the standardised actions; 1 if they are on-policy. Scalar."""


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
        denoiser: Denoiser,
        policy: Policy,
        start: Tensor,
        *,
        policy_guidance: PolicyGuidance,
        guidance: Guidance | None = None,
        generator: torch.Generator,
    ) -> ImaginedTrajectories:
        """Imagine one trajectory from each start state.

        Args:
            denoiser: Trained denoiser.
            policy: Policy on raw observations.
            start: Raw start states. Shape ``[B, O]``.
            policy_guidance: Rule that keeps the actions on-policy.
            guidance: Rule that shifts the states towards low returns; None does not guide.
            generator: Source of randomness, on the device of ``start``.

        Returns:
            Imagined trajectories, without graph.
        """
        features = self.normalizer.encode_start(start)
        noise_level = self.schedule.sigmas[0]
        # Data have scale 1, so the noisy prior has the variance 1 + sigma^2.
        sample = self._pin(math.hypot(1.0, noise_level) * self._noise(start, start.shape[1] + 2, generator))
        mean, std = policy(start[:, None].expand(-1, self.normalizer.horizon, -1))
        action_noise = self._noise(start, mean.shape[-1], generator)
        actions = mean + std * action_noise
        log_ratio = path_kl = torch.zeros(start.shape[0], device=start.device)
        previous_x0: Tensor | None = None

        for index in range(self.schedule.num_steps - 1):
            encoded = self.normalizer.encode_actions(actions)
            x0 = self._denoise(denoiser, sample, encoded, features, index)
            mean, step_std = self.schedule.reverse_step(index, sample, x0, previous_x0)
            noise = self._noise(start, mean.shape[-1], generator)
            next_sample = mean + step_std * noise
            if guidance is not None:
                sigma, next_sigma = self.schedule.sigmas[index : index + 2]
                shift = guidance(
                    ReverseStep(
                        self.schedule.num_steps, sample, x0, mean, step_std, sigma, next_sigma, encoded, features
                    )
                )
                next_sample = next_sample + shift
                log_ratio = log_ratio + log_likelihood_ratio(shift, noise, step_std).float()
                path_kl = path_kl + path_divergence(shift, step_std).float()
            sample, previous_x0 = self._pin(next_sample), x0
            actions = policy_guidance(
                actions,
                policy(self.normalizer.decode(x0, start).observations),
                noise=action_noise,
                noise_std=self._action_noise_std(index),
                generator=generator,
            )

        encoded = self.normalizer.encode_actions(actions)
        x0 = self._denoise(denoiser, sample, encoded, features, self.schedule.num_steps - 1)
        decoded = self.normalizer.decode(x0, start)
        spread = action_spread(actions, policy(decoded.observations))
        return ImaginedTrajectories(
            decoded.observations, actions, decoded.rewards, decoded.ended, log_ratio, path_kl, spread
        )

    def _denoise(self, denoiser: Denoiser, sample: Tensor, actions: Tensor, start: Tensor, index: int) -> Tensor:
        """Estimate the clean trajectories behind a sample."""
        sigma = sample.new_full(sample.shape[:1], self.schedule.sigmas[index])
        return self._pin(denoiser(sample, actions, start, sigma))

    def _pin(self, trajectories: Tensor) -> Tensor:
        """Pin row 0: trajectories hold differences from the start state, which are zero there."""
        return apply_conditioning(trajectories, trajectories.new_zeros(self.normalizer.obs_dim))

    def _noise(self, start: Tensor, num_features: int, generator: torch.Generator) -> Tensor:
        """Draw standard normal noise for every row."""
        shape = (start.shape[0], self.normalizer.horizon, num_features)
        return torch.randn(shape, generator=generator, device=start.device, dtype=start.dtype)

    def _action_noise_std(self, index: int) -> Tensor:
        """Give the DDPM's noise of a step, in raw action units."""
        sigma, next_sigma = self.schedule.sigmas[index : index + 2]
        relative = math.sqrt(posterior_variance(sigma, next_sigma) / (1.0 + next_sigma**2))
        return relative * self.normalizer.action_half_width
