"""The paper's denoiser: a residual multilayer perceptron on the flattened trajectory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rrl.diffusion.denoiser import NoiseLevelEmbedding, TrainableDenoiser, scale_noisy


class ResidualBlock(nn.Module):
    """One residual layer: normalise, rectify, mix, add.

    Args:
        hidden_dim: Number of features.
    """

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dim)
        self.linear = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            features: Features. Shape ``[B, hidden_dim]``.

        Returns:
            Features. Shape ``[B, hidden_dim]``.
        """
        mixed: Tensor = self.linear(self.norm(features).relu())
        return features + mixed


class NoiseConditionalMLP(nn.Module):
    """A residual perceptron whose input layer also sees the noise level.

    Args:
        input_dim: Number of input features.
        output_dim: Number of output features.
        hidden_dim: Width.
        num_layers: Number of residual layers.
    """

    def __init__(self, input_dim: int, output_dim: int, *, hidden_dim: int, num_layers: int) -> None:
        super().__init__()
        self.input = nn.Linear(input_dim, hidden_dim)
        self.noise_level = NoiseLevelEmbedding(hidden_dim)
        self.blocks = nn.Sequential(*[ResidualBlock(hidden_dim) for _ in range(num_layers)])
        self.norm = nn.LayerNorm(hidden_dim)
        self.output = nn.Linear(hidden_dim, output_dim)

    def forward(self, features: Tensor, sigma: Tensor) -> Tensor:
        """Apply the network.

        Args:
            features: Inputs of about unit scale. Shape ``[B, input_dim]``.
            sigma: Noise levels. Shape ``[B]``.

        Returns:
            Outputs. Shape ``[B, output_dim]``.
        """
        hidden = self.blocks(self.input(features) + self.noise_level(sigma))
        output: Tensor = self.output(self.norm(hidden).relu())
        return output


class ResidualMLPDenoiser(TrainableDenoiser):
    """The denoiser of PolyGRAD and AD-RRL, on flattened trajectories, actions and start state.

    The output layer starts at zero: an untrained model predicts that nothing changes.

    Args:
        obs_dim: Observation size ``O``.
        action_dim: Action size ``A``.
        horizon: Rows of a trajectory ``H``.
        hidden_dim: Width; ``1024`` in the paper.
        num_layers: Number of residual layers; ``6`` in the paper.

    References:
        Foffano et al., "Adversarial diffusion for robust reinforcement learning" (AD-RRL), NeurIPS 2025, table 3.
        Theirs embeds the step number by random Fourier features, this one the logarithm of the noise level by fixed
        ones; theirs sees the start state only in row 0 of the trajectory.
    """

    def __init__(self, obs_dim: int, action_dim: int, horizon: int, hidden_dim: int = 256, num_layers: int = 3) -> None:
        super().__init__()
        row_dim = obs_dim + 2
        input_dim = horizon * (row_dim + action_dim) + obs_dim
        self.network = NoiseConditionalMLP(input_dim, horizon * row_dim, hidden_dim=hidden_dim, num_layers=num_layers)
        nn.init.zeros_(self.network.output.weight)
        nn.init.zeros_(self.network.output.bias)

    def forward(self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean trajectories; see ``Denoiser``.

        Args:
            noisy: Noisy trajectories. Shape ``[B, H, D]``.
            actions: Actions scaled to ``[-1, 1]``. Shape ``[B, H, A]``.
            start: Normalised start states. Shape ``[B, O]``.
            sigma: Noise levels. Shape ``[B]``.

        Returns:
            Clean trajectories. Shape ``[B, H, D]``.
        """
        features = torch.cat([scale_noisy(noisy, sigma).flatten(1), actions.flatten(1), start], dim=1)
        output: Tensor = self.network(features, sigma)
        return output.view_as(noisy)
