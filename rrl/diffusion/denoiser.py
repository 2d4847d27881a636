"""What a denoiser is, what all of them share, and the loss that trains them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from rrl.diffusion.conditioning import apply_conditioning


class Denoiser(Protocol):
    """A network that estimates the clean trajectory behind a noisy one, at every noise level."""

    def __call__(self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """Estimate ``E[x0 | noisy]``.

        Args:
            noisy: Noisy trajectories ``x0 + sigma * eps``, row 0 pinned. Shape ``[B, H, D]``.
            actions: Actions scaled to ``[-1, 1]``, without noise. Shape ``[B, H, A]``.
            start: Normalised start states. Shape ``[B, O]``.
            sigma: Noise levels. Shape ``[B]``.

        Returns:
            Clean trajectories. Shape ``[B, H, D]``.
        """
        ...


class TrainableDenoiser(nn.Module):
    """A denoiser with parameters."""

    def training_loss(
        self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor, *, x0: Tensor, weights: Tensor
    ) -> Tensor:
        """Compute the loss that trains it.

        Args:
            noisy: Noisy trajectories; see ``Denoiser``, as the next three. Shape ``[B, H, D]``.
            actions: Shape ``[B, H, A]``.
            start: Shape ``[B, O]``.
            sigma: Shape ``[B]``.
            x0: The clean trajectories behind them. Shape ``[B, H, D]``.
            weights: See :func:`denoising_loss`. Shape ``[B, H, D]``.

        Returns:
            Differentiable scalar.
        """
        return denoising_loss(self(noisy, actions, start, sigma), x0, weights)


def scale_noisy(noisy: Tensor, sigma: Tensor) -> Tensor:
    """Scale noisy trajectories to unit variance, which is what a network digests.

    Args:
        noisy: Noisy trajectories ``x0 + sigma * eps`` of data with unit scale. Shape ``[B, H, D]``.
        sigma: Noise levels. Shape ``[B]``.

    Returns:
        ``noisy / sqrt(1 + sigma**2)``, the sample of the equivalent DDPM. Shape ``[B, H, D]``.

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
        """Embed noise levels.

        Args:
            sigma: Noise levels, positive. Shape ``[B]``.

        Returns:
            Features. Shape ``[B, embed_dim]``.
        """
        level = sigma.log()[:, None]
        phases = level * self.frequencies
        features: Tensor = self.layers(torch.cat([0.25 * level, phases.sin(), phases.cos()], dim=1))
        return features


def add_noise(x0: Tensor, sigma: Tensor, noise: Tensor, *, obs_dim: int) -> Tensor:
    """Noise clean trajectories, except the pinned start state.

    Args:
        x0: Clean trajectories on the scale of the model. Shape ``[B, H, D]``.
        sigma: Noise levels. Shape ``[B]``.
        noise: Standard normal draws. Shape ``[B, H, D]``.
        obs_dim: Number of observation features, which come first in a row.

    Returns:
        ``x0 + sigma * noise`` with the observations of row 0 at zero. Shape ``[B, H, D]``.

    Example:
        >>> add_noise(torch.zeros(1, 2, 2), torch.tensor([3.0]), torch.ones(1, 2, 2), obs_dim=1)
        tensor([[[0., 3.],
                 [3., 3.]]])
    """
    return apply_conditioning(x0 + sigma[:, None, None] * noise, x0.new_zeros(obs_dim))


def denoising_loss(predicted: Tensor, x0: Tensor, weights: Tensor) -> Tensor:
    """Give the mean squared error of denoised trajectories, with the same weight at all noise levels.

    Args:
        predicted: Denoised trajectories. Shape ``[B, H, D]``.
        x0: Clean trajectories on the scale of the model. Shape ``[B, H, D]``.
        weights: 1 where ``x0`` was observed, 0 where it is padding or given; not all 0. Shape ``[B, H, D]``.

    Returns:
        Differentiable scalar, in squared units of the model's scale.

    Example:
        >>> denoising_loss(torch.tensor([2.0, 9.0]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]))
        tensor(4.)

    References:
        AD-RRL, eq. 19. The paper predicts the noise; like the published code this predicts x0.
    """
    return (weights * (predicted - x0).square()).sum() / weights.sum()
