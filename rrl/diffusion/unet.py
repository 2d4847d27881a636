"""The temporal U-Net denoiser, on the building blocks of diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rrl.diffusion.denoiser import scale_noisy

GROUPS = 8
"""Channels per level must be a multiple of the group number of diffusers' group normalisation."""
LEVEL_SCALE = 100.0
"""Factor from the logarithm of the noise level to diffusers' "timestep", whose embedding expects about 0 to 1000."""


class TemporalUNet(nn.Module):
    """A one-dimensional U-Net that convolves over the rows of a trajectory, with the blocks of Janner's Diffuser.

    Actions and start state are extra input channels, since ``UNet1DModel`` has no conditioning input. The output layer
    starts at zero: an untrained model predicts that nothing changes.

    Args:
        obs_dim: Observation size ``O``.
        action_dim: Action size ``A``.
        horizon: Rows of a trajectory ``H``; a multiple of ``2 ** (len(channels) - 1)``.
        channels: Channels per level, each a multiple of 8.

    Raises:
        ValueError: If ``horizon`` or ``channels`` does not fit the network.

    References:
        Janner et al., "Planning with diffusion for flexible behavior synthesis", ICML 2022.
    """

    def __init__(self, obs_dim: int, action_dim: int, horizon: int, channels: Sequence[int] = (16, 32)) -> None:
        super().__init__()
        levels = len(channels)
        if levels < 2 or any(channel % GROUPS for channel in channels):
            raise ValueError(f"`channels` must be two or more multiples of {GROUPS}, got {list(channels)}.")
        # diffusers does not complain about other horizons: it returns trajectories of another length.
        if horizon % 2 ** (levels - 1):
            raise ValueError(f"`horizon` must be a multiple of {2 ** (levels - 1)}, got {horizon}.")
        from diffusers import UNet1DModel  # costs seconds, so only who builds this network pays for it

        network: Any = UNet1DModel(  # type: ignore[no-untyped-call]
            in_channels=2 * obs_dim + 2 + action_dim,
            out_channels=obs_dim + 2,
            block_out_channels=tuple(channels),
            down_block_types=("DownResnetBlock1D",) * levels,
            mid_block_type="MidResTemporalBlock1D",
            up_block_types=("UpResnetBlock1D",) * (levels - 1),
            out_block_type="OutConv1DBlock",
            act_fn="mish",
            time_embedding_type="positional",
            use_timestep_embedding=True,
            flip_sin_to_cos=False,
            freq_shift=1.0,
        )
        self.network: nn.Module = network
        for parameter in self.network.get_submodule("out_block.final_conv1d_2").parameters():
            nn.init.zeros_(parameter)

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
        start_rows = start[:, None].expand(-1, noisy.shape[1], -1)
        rows = torch.cat([scale_noisy(noisy, sigma), actions, start_rows], dim=-1)
        # Convolutions want the channels first: [B, D, H] inside, [B, H, D] outside.
        output: Tensor = self.network(rows.transpose(1, 2), LEVEL_SCALE * sigma.log(), return_dict=False)[0]
        return output.transpose(1, 2)
