"""Noise schedules and reverse steps, all in variance-exploding (VE) coordinates.

A noisy trajectory is ``y = x0 + sigma * eps``. The sample ``x`` of a variance-preserving DDPM is the same thing on
another scale, ``x = y / sqrt(1 + sigma**2)`` with ``sigma**2 = (1 - abar) / abar``. In VE coordinates DDPM and the
stochastic DPM-Solver++ are one and the same Gaussian step; they differ only in the denoised estimate they step to.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rrl.checks import require_at_least, require_positive

MAX_BETA = 0.999
"""Largest noise increment of one DDPM step; 1 would erase the sample and make its noise level infinite."""


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise levels of a reverse process and the solver that walks down them.

    Args:
        sigmas: Noise levels, strictly descending, the last one 0. ``K + 1`` numbers for ``K`` steps.
        order: 1 for the DDPM posterior, 2 for the second-order multistep SDE solver.
        training_noise: ``"table"`` trains on the levels of the schedule, ``"log_uniform"`` on all levels in between.

    Raises:
        ValueError: If the levels do not descend to 0.
    """

    sigmas: tuple[float, ...]
    order: Literal[1, 2]
    training_noise: Literal["table", "log_uniform"]

    def __post_init__(self) -> None:
        descends = all(high > low for high, low in itertools.pairwise(self.sigmas))
        if len(self.sigmas) < 2 or self.sigmas[-1] != 0.0 or not descends:
            raise ValueError(f"`sigmas` must descend strictly to 0, got {self.sigmas}.")

    @property
    def num_steps(self) -> int:
        """Number of reverse steps ``K``, including the last one, which adds no noise."""
        return len(self.sigmas) - 1

    def sample_sigmas(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Draw noise levels ``[B]`` to train on, on the device of the generator."""
        device = generator.device
        if self.training_noise == "table":
            index = torch.randint(self.num_steps, (batch_size,), generator=generator, device=device)
            return torch.tensor(self.sigmas, device=device)[index]
        low, high = math.log(self.sigmas[-2]), math.log(self.sigmas[0])
        uniform = torch.rand(batch_size, generator=generator, device=device)
        return torch.exp(low + (high - low) * uniform)

    def reverse_step(self, index: int, sample: Tensor, x0: Tensor, previous_x0: Tensor | None) -> tuple[Tensor, float]:
        r"""Give the Gaussian of one reverse step from ``sigmas[index]`` to ``sigmas[index + 1]``.

        With :math:`r = (\sigma_{k+1} / \sigma_k)^2` the mean is :math:`r y + (1 - r) \tilde{x}_0` and the variance
        ``posterior_variance``. First order: :math:`\tilde{x}_0 = \hat{x}_0`, the DDPM posterior. Second order
        (SDE-DPM-Solver++(2M)): :math:`\hat{x}_0` is extrapolated along the previous estimate,
        :math:`\tilde{x}_0 = \hat{x}_0 + \frac{h_k}{2 h_{k-1}} (\hat{x}_0 - \hat{x}_0^{prev})` with
        :math:`h_k = \ln(\sigma_k / \sigma_{k+1})`.

        Args:
            index: Step, counted from 0 at the highest noise.
            sample: Noisy trajectories. Shape ``[B, H, D]``.
            x0: The denoiser's estimate at ``sample``. Shape ``[B, H, D]``.
            previous_x0: The estimate of the step before; None in the first step. Shape ``[B, H, D]``.

        Returns:
            Mean of the next sample, shape ``[B, H, D]``, and its standard deviation.

        References:
            Ho et al., "Denoising diffusion probabilistic models", 2020, eq. 7. Lu et al., "DPM-Solver++", 2022,
            appendix A (SDE-DPM-Solver++(2M)).
        """
        sigma, next_sigma = self.sigmas[index : index + 2]
        denoised = x0
        # The step to 0 returns the estimate itself: its h is infinite, so there is nothing to extrapolate with.
        if self.order == 2 and previous_x0 is not None and next_sigma > 0.0:
            ratio = math.log(sigma / next_sigma) / math.log(self.sigmas[index - 1] / sigma)
            denoised = x0 + 0.5 * ratio * (x0 - previous_x0)
        kept = (next_sigma / sigma) ** 2
        return kept * sample + (1.0 - kept) * denoised, math.sqrt(posterior_variance(sigma, next_sigma))


def posterior_variance(sigma: float, next_sigma: float) -> float:
    r"""Give the variance of the next sample, given the present one and x0 ("fixed small").

    .. math::
        \sigma_{k+1}^2 (1 - \sigma_{k+1}^2 / \sigma_k^2)

    Divided by :math:`1 + \sigma_{k+1}^2` it is the DDPM's :math:`\beta_t (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t)`.

    Example:
        >>> posterior_variance(2.0, 1.0)
        0.75
        >>> posterior_variance(2.0, 0.0)
        0.0
    """
    return next_sigma**2 * (1.0 - (next_sigma / sigma) ** 2)


def tempered_cosine_betas(num_steps: int, temperature: float) -> list[float]:
    r"""Give the noise increments of the cosine schedule with a temperature.

    .. math::
        \bar\alpha_k = \frac{f(k/N) - f(1)}{f(0) - f(1)}, \quad f(x) = \cos(x \pi / 2)^{2 \tau}, \quad
        \beta_k = \min(1 - \bar\alpha_k / \bar\alpha_{k-1}, 0.999)

    Args:
        num_steps: Number of steps ``N``, at least 1.
        temperature: Exponent tau, positive; 1 is the plain cosine, smaller keeps the signal longer.

    Returns:
        ``N`` increments in ``[0, 0.999]``.

    Example:
        >>> [round(beta, 3) for beta in tempered_cosine_betas(2, 1.0)]
        [0.5, 0.999]

    References:
        Chen, "On the importance of noise scheduling for diffusion models", 2023.
    """
    # f(1) is 0, so f itself is abar; cos(pi/2) is only almost 0 in floating point, hence the cap.
    signal = [math.cos(0.5 * math.pi * k / num_steps) ** (2.0 * temperature) for k in range(num_steps)] + [0.0]
    return [min(1.0 - later / earlier, MAX_BETA) for earlier, later in itertools.pairwise(signal)]


class SolverSettings(ABC):
    """In which steps noise becomes a trajectory."""

    @abstractmethod
    def build(self) -> NoiseSchedule:
        """Compute the noise levels."""


@dataclass(frozen=True, kw_only=True)
class DDPM(SolverSettings):
    """The paper's chain: first order, with cosine noise and "fixed small" variance, trained on its own levels."""

    length: int = 128
    """Steps of the chain; ``128`` in the published code."""
    temperature: float = 1.0
    """See :func:`tempered_cosine_betas`; the published code uses 1, and 0.1 for Hopper and InvertedPendulum."""

    def __post_init__(self) -> None:
        require_at_least(1, length=self.length)
        require_positive(temperature=self.temperature)

    def build(self) -> NoiseSchedule:
        """Compute the noise levels, in the single precision of the published code."""
        abar = (1.0 - torch.tensor(tempered_cosine_betas(self.length, self.temperature))).cumprod(0).double()
        sigmas: list[float] = ((1.0 - abar) / abar).sqrt().flip(0).tolist()
        return NoiseSchedule((*sigmas, 0.0), order=1, training_noise="table")


@dataclass(frozen=True, kw_only=True)
class FewStep(SolverSettings):
    """Log-uniform levels, walked by the second-order stochastic solver, trained on all levels in between."""

    steps: int = 8
    """Steps, at least 2. The actions of a steep policy settle within about twice the horizon."""
    sigma_min: float = 0.03
    """Last noise level before 0."""
    sigma_max: float = 20.0
    """First noise level. Data have scale 1; much higher start levels only multiply the denoiser's error."""

    def __post_init__(self) -> None:
        require_at_least(2, steps=self.steps)
        if not 0.0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(
                f"`sigma_min` and `sigma_max` must obey 0 < min < max, got {self.sigma_min} and {self.sigma_max}."
            )

    def build(self) -> NoiseSchedule:
        """Compute the noise levels."""
        decay = (self.sigma_min / self.sigma_max) ** (1.0 / (self.steps - 1))
        sigmas = [self.sigma_max * decay**k for k in range(self.steps - 1)]
        return NoiseSchedule((*sigmas, self.sigma_min, 0.0), order=2, training_noise="log_uniform")
