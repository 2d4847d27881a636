"""Models whose guided distributions are known exactly, and small fixtures shared by the diffusion tests."""

import torch
from torch import Tensor

from rrl.diffusion import (
    Guidance,
    ImaginedTrajectories,
    NoiseSchedule,
    ReparameterizedGuidance,
    TrajectoryNormalizer,
    TrajectorySampler,
)


class GaussianOracle:
    """The exact denoiser and return of Gaussian trajectories: an AR(1) process that starts in 0, with a linear return.

    Args:
        horizon: Rows of a trajectory.
        obs_dim: Observation size.
    """

    def __init__(self, horizon: int = 5, obs_dim: int = 2) -> None:
        self.horizon, self.obs_dim = horizon, obs_dim
        rows = torch.arange(1, horizon, dtype=torch.float64)
        lag = (rows[:, None] - rows).abs()
        per_feature = 0.8**lag - 0.8 ** (rows[:, None] + rows)
        self.covariance = torch.kron(per_feature, torch.diag(torch.linspace(0.7, 1.3, obs_dim).double()))
        self.mean = torch.linspace(-0.2, 0.3, len(self.covariance)).double()
        self.slope = torch.linspace(0.2, 1.0, len(self.covariance)).double()

    @property
    def return_std(self) -> float:
        """Standard deviation of the return."""
        return float((self.slope @ self.covariance @ self.slope).sqrt())

    def denoise(self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | y] = m + S (S + sigma^2 I)^-1 (y - m); the reward and end channels are always 0."""
        x0 = torch.zeros_like(noisy)
        x0[:, 1:, : self.obs_dim] = self.expected(noisy[..., : self.obs_dim], sigma)
        return x0

    def expected_return(self, noisy_observations: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """E[Z | y] = w . E[x0 | y]."""
        return self.expected(noisy_observations, sigma).flatten(1) @ self.slope

    def expected(self, noisy_observations: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | y] of the rows after the first; all sigmas are alike."""
        later = noisy_observations[:, 1:]
        noise = sigma[0] ** 2 * torch.eye(len(self.covariance), dtype=torch.float64)
        gain = torch.linalg.solve(self.covariance + noise, self.covariance).T
        return (self.mean + (later.flatten(1) - self.mean) @ gain.T).view_as(later)

    def sample(
        self, schedule: NoiseSchedule, num_samples: int, guidance: Guidance | None = None, seed: int = 0
    ) -> ImaginedTrajectories:
        """Imagine trajectories that start in 0 on the identity scale, so that observations are x0."""
        sampler = TrajectorySampler(schedule, unit_normalizer(self.horizon, self.obs_dim))
        return sampler.sample(
            self.denoise,
            standard_policy,
            torch.zeros(num_samples, self.obs_dim, dtype=torch.float64),
            policy_guidance=ReparameterizedGuidance(),
            guidance=guidance,
            generator=torch.Generator().manual_seed(seed),
        )

    def features(self, imagined: ImaginedTrajectories) -> Tensor:
        """The Gaussian vector x0 of imagined trajectories."""
        return imagined.observations[:, 1:].flatten(1)

    def returns(self, imagined: ImaginedTrajectories) -> Tensor:
        """The exact returns of imagined trajectories."""
        return self.features(imagined) @ self.slope


def unit_normalizer(horizon: int, obs_dim: int, action_dim: int = 1) -> TrajectoryNormalizer:
    """A normaliser that was never updated: all scales are 1."""
    return TrajectoryNormalizer(horizon, obs_dim, [-1.0] * action_dim, [1.0] * action_dim)


def standard_policy(observations: Tensor) -> tuple[Tensor, Tensor]:
    """A policy that ignores the observations: one standard normal action."""
    mean = torch.zeros_like(observations[..., :1])
    return mean, torch.ones_like(mean)
