"""Make any denoiser respect the arrow of time: no state depends on a later action."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalDenoiser(nn.Module):
    r"""Runs a denoiser on every prefix of a trajectory, and keeps the last row of each.

    A network that sees a whole window learns :math:`p(s | a)` from data in which actions answer states, so it also
    reads states off the actions that followed them: it explains an action instead of obeying it. What a policy improves
    on must be the effect of its actions, :math:`p(s | do(a)) = \prod_t p(s_t | s_{<t}, a_{<t})`, and that is what the
    network learns from prefixes. The joint sampling of states and actions then is a triangular fixed-point iteration,
    which converges in ``H`` steps however steep the policy is.

    The state in row ``t`` sees the noisy states up to ``t`` and the actions and outcomes (reward, end of the episode)
    before ``t``; the outcome of row ``t`` sees the state that it led to. The price is ``H - 1`` times the work.

    Args:
        network: A denoiser for actions of one more feature, which tells the rows of the prefix from those behind it.
        obs_dim: Observation size ``O``.
        horizon: Rows of a trajectory ``H``.
    """

    observation_mask: Tensor
    """1 where a prefix holds the state of a row. Shape ``[H - 1, H, 1]``."""
    action_mask: Tensor
    """1 where a prefix holds the action and the outcome of a row. Shape ``[H - 1, H, 1]``."""

    def __init__(self, network: nn.Module, *, obs_dim: int, horizon: int) -> None:
        super().__init__()
        self.network, self.obs_dim = network, obs_dim
        last, row = torch.arange(1, horizon)[:, None, None], torch.arange(horizon)[None, :, None]
        self.register_buffer("observation_mask", (row <= last).float())
        self.register_buffer("action_mask", (row < last).float())

    def forward(self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean trajectories; see ``Denoiser``.

        Args:
            noisy: Noisy trajectories. Shape ``[B, H, D]``.
            actions: Actions scaled to ``[-1, 1]``. Shape ``[B, H, A]``.
            start: Normalised start states. Shape ``[B, O]``.
            sigma: Noise levels. Shape ``[B]``.

        Returns:
            Clean trajectories; zero where there is nothing to estimate: the state of row 0, which is given, and the
            outcome of the last row, which has no successor. Shape ``[B, H, D]``.
        """
        count, horizon, _ = noisy.shape
        states, outcomes = noisy[:, None, :, : self.obs_dim], noisy[:, None, :, self.obs_dim :]
        prefixes = torch.cat([states * self.observation_mask, outcomes * self.action_mask], dim=-1)
        flags = self.action_mask.expand(count, -1, -1, -1)
        causes = torch.cat([actions[:, None] * self.action_mask, flags], dim=-1)
        repeats = horizon - 1
        estimate = self.network(
            prefixes.flatten(0, 1),
            causes.flatten(0, 1),
            start.repeat_interleave(repeats, dim=0),
            sigma.repeat_interleave(repeats, dim=0),
        ).unflatten(0, (count, repeats))
        last = torch.arange(1, horizon, device=noisy.device)
        result = torch.zeros_like(noisy)
        result[:, 1:, : self.obs_dim] = estimate[:, last - 1, last, : self.obs_dim]
        result[:, :-1, self.obs_dim :] = estimate[:, last - 1, last - 1, self.obs_dim :]
        return result
