"""Models whose guided distributions are known exactly, and small fixtures shared by the diffusion tests."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from rrl.diffusion import ImaginedTrajectories, Reparameterized, TrajectoryNormalizer, TrajectorySampler
from rrl.diffusion.denoiser import DenoiseFunction
from rrl.diffusion.guidance import ReturnFunction, StepShift, noise_conditional_shift, paper_shift, released_shift
from rrl.diffusion.guidance_strength import GuidanceStrength
from rrl.diffusion.policy_guidance import PolicyFunction, PolicyGuidance
from rrl.diffusion.scheduler import NoiseSchedule


def paper(return_model: ReturnFunction, alpha: float) -> StepShift:
    return partial(paper_shift, return_model=return_model, alpha=alpha)


def released(return_model: ReturnFunction, alpha: float) -> StepShift:
    return partial(released_shift, return_model=return_model, alpha=alpha)


def noise_conditional(return_model: ReturnFunction, strength: GuidanceStrength) -> StepShift:
    return partial(noise_conditional_shift, return_model=return_model, strength=strength.value)


Rule = Callable[[ReturnFunction], StepShift]
RULES: dict[str, Rule] = {
    "paper": lambda return_model: paper(return_model, 0.1),
    "released": lambda return_model: released(return_model, 0.1),
    "noise_cond": lambda return_model: noise_conditional(return_model, GuidanceStrength()),
}


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

    def denoise_given_quantile(self, noisy: Tensor, actions: Tensor, context: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | y, Z]: what is left to know, once the quantile of the return is told, is Gaussian too."""
        quantile = 0.5 * (context[:, self.obs_dim] + 1.0)
        deviation = self.return_std * torch.special.ndtri(quantile)
        lever = self.covariance @ self.slope / self.return_std**2
        mean = self.mean + deviation[:, None] * lever
        rest = self.covariance - self.return_std**2 * torch.outer(lever, lever)
        later = noisy[:, 1:, : self.obs_dim]
        gain = torch.linalg.solve(rest + sigma[0] ** 2 * torch.eye(len(rest), dtype=torch.float64), rest).T
        x0 = torch.zeros_like(noisy)
        x0[:, 1:, : self.obs_dim] = (mean + (later.flatten(1) - mean) @ gain.T).view_as(later)
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
        self, schedule: NoiseSchedule, num_samples: int, guidance: StepShift | None = None, seed: int = 0
    ) -> ImaginedTrajectories:
        """Imagine trajectories that start in 0 on the identity scale, so that observations are x0."""
        start = torch.zeros(num_samples, self.obs_dim, dtype=torch.float64)
        return imagine(self.denoise, schedule, start, guidance, horizon=self.horizon, seed=seed)

    def chain_law(self, schedule: NoiseSchedule, strength: float = 0.0) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the features that an exact sampler gives, tilted by the noise-conditional rule.

        Every reverse step is linear, so the law is Gaussian and follows from a recursion. It is not the law of the data
        itself: the variance of a step leaves out what x0 varies given the noisy sample, and the second-order solver
        extrapolates. Both vanish only in the limit of many steps, on which tolerances would have to be guessed.
        """
        size, eye = len(self.covariance), torch.eye(len(self.covariance), dtype=torch.float64)
        # The state is the noisy sample and the estimate of the step before, both as deviations from the data's mean.
        mean, covariance = torch.zeros(2 * size, dtype=torch.float64), torch.zeros(2 * size, 2 * size).double()
        mean[:size] = -self.mean
        covariance[:size, :size] = (1.0 + schedule.sigmas[0] ** 2) * eye
        previous_log_step = None
        for sigma, next_sigma in itertools.pairwise(schedule.sigmas[:-1]):
            log_step, kept = math.log(sigma / next_sigma), (next_sigma / sigma) ** 2
            extrapolated = 0.0
            if schedule.order == 2 and previous_log_step is not None:
                extrapolated = 0.5 * log_step / previous_log_step
            gain = self.covariance @ torch.linalg.inv(self.covariance + sigma**2 * eye)
            estimate = torch.cat([gain, torch.zeros_like(gain)], dim=1)
            sample = torch.cat(
                [kept * eye + (1.0 - kept) * (1.0 + extrapolated) * gain, -(1.0 - kept) * extrapolated * eye], dim=1
            )
            step = torch.cat([sample, estimate])
            mean, covariance = step @ mean, step @ covariance @ step.T
            mean[:size] -= (1.0 - kept) * strength * sigma**2 * gain @ self.slope
            covariance[:size, :size] += next_sigma**2 * (1.0 - kept) * eye
            previous_log_step = log_step
        gain = self.covariance @ torch.linalg.inv(self.covariance + schedule.sigmas[-2] ** 2 * eye)
        return self.mean + gain @ mean[:size], gain @ covariance[:size, :size] @ gain.T

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


def imagine(
    denoiser: DenoiseFunction,
    schedule: NoiseSchedule,
    start: Tensor,
    shift: StepShift | None = None,
    *,
    policy: PolicyFunction = standard_policy,
    policy_guidance: PolicyGuidance | None = None,
    horizon: int = 4,
    quantile: Tensor | None = None,
    seed: int | torch.Generator = 0,
) -> ImaginedTrajectories:
    """Imagine a trajectory from each start state on the identity scale."""
    return TrajectorySampler(schedule, unit_normalizer(horizon, start.shape[1])).sample(
        denoiser,
        policy,
        start,
        policy_guidance=policy_guidance or Reparameterized(),
        shift=shift,
        quantile=quantile,
        generator=torch.Generator().manual_seed(seed) if isinstance(seed, int) else seed,
    )
