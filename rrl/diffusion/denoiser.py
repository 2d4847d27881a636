"""What a denoiser is, what all of them share, and the loss that trains them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.scheduler import NoiseSchedule
from rrl.types import WindowBatch

DenoiseFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A ``WindowDenoiser``, or a function with the arguments and result of its ``forward``."""


class Denoiser(nn.Module, ABC):
    """A network that estimates what is behind noisy trajectories, and learns it from windows of real experience.

    The output layer of each starts at zero: an untrained model predicts that nothing changes.
    """

    @abstractmethod
    def loss(
        self,
        windows: WindowBatch,
        normalizer: TrajectoryNormalizer,
        told: Tensor,
        schedule: NoiseSchedule,
        generator: torch.Generator,
    ) -> Tensor:
        """Compute the loss on windows at random noise levels.

        Args:
            windows: Windows of real experience.
            normalizer: Scale of the model.
            told: What it is told beside the start state. Shape ``[B, told]``.
            schedule: Noise levels to train on.
            generator: Source of randomness.

        Returns:
            Differentiable scalar.
        """


class WindowDenoiser(Denoiser):
    """A denoiser of whole trajectories, at one noise level each."""

    @abstractmethod
    def forward(self, noisy: Tensor, actions: Tensor, context: Tensor, sigma: Tensor) -> Tensor:
        """Estimate ``E[x0 | noisy]``.

        Args:
            noisy: Noisy trajectories ``x0 + sigma * eps``, row 0 pinned. Shape ``[B, H, D]``.
            actions: Actions scaled to ``[-1, 1]``, without noise. Shape ``[B, H, A]``.
            context: Normalised start states, followed by what else is told. Shape ``[B, C]``.
            sigma: Noise levels. Shape ``[B]``.

        Returns:
            Clean trajectories. Shape ``[B, H, D]``.
        """

    def training_loss(
        self, noisy: Tensor, actions: Tensor, context: Tensor, sigma: Tensor, *, x0: Tensor, weights: Tensor
    ) -> Tensor:
        """Compute the :func:`denoising_loss` of the estimate. Differentiable scalar."""
        return denoising_loss(self(noisy, actions, context, sigma), x0, weights)

    def loss(
        self,
        windows: WindowBatch,
        normalizer: TrajectoryNormalizer,
        told: Tensor,
        schedule: NoiseSchedule,
        generator: torch.Generator,
    ) -> Tensor:
        """Compute the loss, each window at a noise level of its own."""
        x0, start = normalizer.encode(windows), normalizer.encode_start(windows.observations[:, 0])
        noisy, sigma = noised(x0, schedule, generator, obs_dim=normalizer.obs_dim)
        context, actions = torch.cat([start, told], dim=1), normalizer.encode_actions(windows.actions)
        return self.training_loss(noisy, actions, context, sigma, x0=x0, weights=normalizer.mask(windows))


class DenoiserSettings(ABC):
    """Which denoiser, and how large."""

    @abstractmethod
    def build(self, obs_dim: int, action_dim: int, horizon: int, *, told: int = 0) -> Denoiser:
        """Make the network for observations of size ``O``, actions of size ``A`` and ``H`` rows.

        It is told as many numbers beside the start state: ``C = O + told``.
        """


def scale_noisy(noisy: Tensor, sigma: Tensor) -> Tensor:
    """Scale noisy trajectories of data with unit scale to unit variance, as the equivalent DDPM does.

    Example:
        >>> scale_noisy(torch.full((1, 1, 1), 5.0), torch.tensor([0.75]))
        tensor([[[4.]]])
    """
    return noisy * torch.rsqrt(1.0 + sigma.square())[:, None, None]


class NoiseLevelEmbedding(nn.Module):
    """Features of the noise level: its logarithm, and sines and cosines of it at doubling frequencies.

    Args:
        embed_dim: Size of the embedding.
        num_frequencies: Number of frequencies; the longest period covers all levels in use, ``1e-3`` to ``3e3``.
    """

    frequencies: Tensor

    def __init__(self, embed_dim: int, num_frequencies: int = 6) -> None:
        super().__init__()
        self.register_buffer("frequencies", 0.25 * 2.0 ** torch.arange(num_frequencies))
        self.layers = nn.Sequential(
            nn.Linear(2 * num_frequencies + 1, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim)
        )

    def forward(self, sigma: Tensor) -> Tensor:
        """Embed positive noise levels ``[B]`` in features ``[B, embed_dim]``."""
        level = sigma.log()[:, None]
        phases = level * self.frequencies
        features: Tensor = self.layers(torch.cat([0.25 * level, phases.sin(), phases.cos()], dim=1))
        return features


def start_at_zero(layer: nn.Module) -> None:
    """Set the parameters of an output layer to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def apply_conditioning(trajectories: Tensor, start_features: Tensor) -> Tensor:
    """Pin the observation part of row 0 of every trajectory.

    The start state is known, so it is written into the noisy trajectory before the network sees it and into the
    prediction afterwards; only the reward and the end-of-episode channel of row 0 stay free. Trajectories hold
    differences from the start, so in this package ``start_features`` are zeros.

    Args:
        trajectories: Trajectories on the scale of the model, observations first. Shape ``[B, H, D]``.
        start_features: What row 0 shall contain. Shape ``[B, O]`` or ``[O]``, with ``O <= D``.

    Returns:
        A new tensor of shape ``[B, H, D]``, equal to ``start_features`` in row 0 to the bit; differentiable.

    References:
        Janner et al., "Planning with diffusion for flexible behavior synthesis", ICML 2022, section 3.3. Unlike there,
        the network is trained with the pinned row, so it is a conditional model and not an in-painted one.
    """
    obs_dim = start_features.shape[-1]
    if obs_dim > trajectories.shape[-1]:
        raise ValueError(f"`start_features` may have at most {trajectories.shape[-1]} features, got {obs_dim}.")
    pinned = trajectories.clone()
    pinned[:, 0, :obs_dim] = start_features
    return pinned


def add_noise(x0: Tensor, sigma: Tensor, noise: Tensor, *, obs_dim: int) -> Tensor:
    """Noise clean trajectories ``[B, H, D]``, except the pinned start state: the first ``obs_dim`` features of row 0.

    Example:
        >>> add_noise(torch.zeros(1, 2, 2), torch.tensor([3.0]), torch.ones(1, 2, 2), obs_dim=1)
        tensor([[[0., 3.],
                 [3., 3.]]])
    """
    return apply_conditioning(x0 + sigma[:, None, None] * noise, x0.new_zeros(obs_dim))


def noised(x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator, *, obs_dim: int) -> tuple[Tensor, Tensor]:
    """Noise clean trajectories ``[B, H, D]`` at random levels; return them and the levels ``[B]``."""
    sigma = schedule.sample_sigmas(len(x0), generator)
    noise = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
    return add_noise(x0, sigma, noise, obs_dim=obs_dim), sigma


def denoising_loss(predicted: Tensor, x0: Tensor, weights: Tensor) -> Tensor:
    """Give the mean squared error of denoised trajectories, with the same weight at all noise levels.

    Args:
        predicted: Denoised trajectories. Shape ``[B, H, D]``.
        x0: Clean trajectories on the scale of the model. Shape ``[B, H, D]``.
        weights: 1 where ``x0`` was observed, 0 where it is padding or given; not all 0. Shape ``[B, H, D]``.

    Example:
        >>> denoising_loss(torch.tensor([2.0, 9.0]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]))
        tensor(4.)

    References:
        AD-RRL, eq. 19. The paper predicts the noise; like the published code this predicts x0.
    """
    return (weights * (predicted - x0).square()).sum() / weights.sum()
