"""The paper's denoiser: a residual multilayer perceptron on the flattened trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least
from rrl.diffusion.denoiser import DenoiserSettings, NoiseLevelEmbedding, WindowDenoiser, scale_noisy, start_at_zero


@dataclass(frozen=True, kw_only=True)
class ResidualSizes:
    """Sizes of a residual perceptron."""

    hidden_dim: int = 256
    """Width; ``1024`` in the paper."""
    num_layers: int = 3
    """Residual layers; ``6`` in the paper."""

    def __post_init__(self) -> None:
        require_at_least(1, hidden_dim=self.hidden_dim, num_layers=self.num_layers)


@dataclass(frozen=True, kw_only=True)
class ResidualMLP(ResidualSizes, DenoiserSettings):
    """The denoiser of PolyGRAD and AD-RRL, which sees whole windows, later actions included."""

    def build(self, obs_dim: int, action_dim: int, horizon: int, *, told: int = 0) -> WindowDenoiser:
        """Make the network."""
        return ResidualMLPDenoiser(obs_dim, action_dim, horizon, self, told=told)


class ResidualBlock(nn.Module):
    """One residual layer: normalise, rectify, mix, add."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dim)
        self.linear = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the layer to features ``[B, hidden_dim]``."""
        mixed: Tensor = self.linear(self.norm(features).relu())
        return features + mixed


class NoiseConditionalMLP(nn.Module):
    """A residual perceptron whose input layer also sees the noise level."""

    def __init__(self, input_dim: int, output_dim: int, sizes: ResidualSizes) -> None:
        super().__init__()
        self.input = nn.Linear(input_dim, sizes.hidden_dim)
        self.noise_level = NoiseLevelEmbedding(sizes.hidden_dim)
        self.blocks = nn.Sequential(*[ResidualBlock(sizes.hidden_dim) for _ in range(sizes.num_layers)])
        self.norm = nn.LayerNorm(sizes.hidden_dim)
        self.output = nn.Linear(sizes.hidden_dim, output_dim)

    def forward(self, features: Tensor, sigma: Tensor) -> Tensor:
        """Map features ``[B, input_dim]`` of about unit scale at noise levels ``[B]`` to ``[B, output_dim]``."""
        hidden = self.blocks(self.input(features) + self.noise_level(sigma))
        output: Tensor = self.output(self.norm(hidden).relu())
        return output


class ResidualMLPDenoiser(WindowDenoiser):
    """A residual perceptron on flattened trajectories, actions and start state.

    References:
        Foffano et al., "Adversarial diffusion for robust reinforcement learning" (AD-RRL), NeurIPS 2025, table 3.
        Theirs embeds the step number by random Fourier features, this one the logarithm of the noise level by fixed
        ones; theirs sees the start state only in row 0 of the trajectory.
    """

    def __init__(self, obs_dim: int, action_dim: int, horizon: int, sizes: ResidualSizes, *, told: int) -> None:
        super().__init__()
        row_dim = obs_dim + 2
        self.network = NoiseConditionalMLP(horizon * (row_dim + action_dim) + obs_dim + told, horizon * row_dim, sizes)
        start_at_zero(self.network.output)

    def forward(self, noisy: Tensor, actions: Tensor, context: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean trajectories."""
        features = torch.cat([scale_noisy(noisy, sigma).flatten(1), actions.flatten(1), context], dim=1)
        output: Tensor = self.network(features, sigma)
        return output.view_as(noisy)
