"""The temporal U-Net denoiser, on the building blocks of diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rrl.diffusion.causal import CausalDenoiser
from rrl.diffusion.denoiser import Denoiser, DenoiserSettings, scale_noisy, start_at_zero

GROUPS = 8
"""Channels per level must be a multiple of the group number of diffusers' group normalisation."""
LEVEL_SCALE = 100.0
"""Factor from the logarithm of the noise level to diffusers' "timestep", whose embedding expects about 0 to 1000."""


@dataclass(frozen=True, kw_only=True)
class TemporalUNet(DenoiserSettings):
    """The temporal U-Net of diffusers, made causal by running it on every prefix."""

    channels: tuple[int, ...] = (16, 32)
    """Channels of each level, multiples of 8."""

    def __post_init__(self) -> None:
        """Check the channels."""
        if len(self.channels) < 2 or any(channel < 1 or channel % GROUPS for channel in self.channels):
            raise ValueError(f"`channels` must be two or more multiples of {GROUPS}, got {list(self.channels)}.")

    def build(self, obs_dim: int, action_dim: int, horizon: int) -> Denoiser:
        """Make the network; it takes multiples of ``2 ** (len(channels) - 1)`` as horizon."""
        # diffusers does not complain about other horizons: it returns trajectories of another length.
        divisor = 2 ** (len(self.channels) - 1)
        if horizon % divisor:
            raise ValueError(f"`horizon` must be a multiple of {divisor}, got {horizon}.")
        network = TemporalUNetDenoiser(obs_dim, action_dim + 1, tuple(self.channels))
        return CausalDenoiser(network, obs_dim=obs_dim, horizon=horizon)


class TemporalUNetDenoiser(Denoiser):
    """A one-dimensional U-Net that convolves over the rows of a trajectory, with the blocks of Janner's Diffuser.

    Actions and start state are extra input channels, since ``UNet1DModel`` has no conditioning input.

    References:
        Janner et al., "Planning with diffusion for flexible behavior synthesis", ICML 2022.
    """

    def __init__(self, obs_dim: int, action_dim: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        from diffusers import UNet1DModel  # costs seconds, so only who builds this network pays for it

        network: Any = UNet1DModel(  # type: ignore[no-untyped-call]
            in_channels=2 * obs_dim + 2 + action_dim,
            out_channels=obs_dim + 2,
            block_out_channels=channels,
            down_block_types=("DownResnetBlock1D",) * len(channels),
            mid_block_type="MidResTemporalBlock1D",
            up_block_types=("UpResnetBlock1D",) * (len(channels) - 1),
            out_block_type="OutConv1DBlock",
            act_fn="mish",
            time_embedding_type="positional",
            use_timestep_embedding=True,
            flip_sin_to_cos=False,
            freq_shift=1.0,
        )
        self.network: nn.Module = network
        start_at_zero(self.network.get_submodule("out_block.final_conv1d_2"))

    def forward(self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean trajectories."""
        start_rows = start[:, None].expand(-1, noisy.shape[1], -1)
        rows = torch.cat([scale_noisy(noisy, sigma), actions, start_rows], dim=-1)
        # Convolutions want the channels first: [B, D, H] inside, [B, H, D] outside.
        output: Tensor = self.network(rows.transpose(1, 2), LEVEL_SCALE * sigma.log(), return_dict=False)[0]
        return output.transpose(1, 2)
