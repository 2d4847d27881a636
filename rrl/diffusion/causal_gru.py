"""A denoiser that knows the arrow of time: no state depends on a later action."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rrl.diffusion.denoiser import NoiseLevelEmbedding, scale_noisy


class CausalGRUDenoiser(nn.Module):
    r"""A recurrent denoiser whose state in row ``t`` sees the noisy rows up to ``t`` and the actions before ``t`` only.

    A network that sees whole windows learns :math:`p(s | a)` from data in which actions answer states, so it also reads
    states off the actions that followed them: it explains an action instead of obeying it. What a policy improves on
    must be :math:`p(s | do(a)) = \prod_t p(s_t | s_{<t}, a_{<t})`, and this factorisation is the mask of this network.
    The joint sampling of states and actions then is a triangular fixed-point iteration, which converges in ``H`` steps
    however steep the policy is. The reward and the end of the episode in row ``t`` see action ``t`` as well.

    Args:
        obs_dim: Observation size ``O``.
        action_dim: Action size ``A``.
        horizon: Rows of a trajectory ``H``; the network takes any.
        hidden_dim: Width of the recurrent state.

    Raises:
        ValueError: If ``horizon`` is below 2.
    """

    def __init__(self, obs_dim: int, action_dim: int, horizon: int, hidden_dim: int = 128) -> None:
        super().__init__()
        if horizon < 2:
            raise ValueError(f"`horizon` must be at least 2, got {horizon}.")
        self.obs_dim = obs_dim
        self.noise_level = NoiseLevelEmbedding(hidden_dim)
        self.start = nn.Linear(obs_dim, hidden_dim)
        self.row = nn.Linear(obs_dim + 2 + action_dim, hidden_dim)
        self.recurrence = nn.GRU(hidden_dim, hidden_dim, batch_first=True)
        self.state_head = _head(hidden_dim, hidden_dim, obs_dim)
        self.outcome_head = _head(hidden_dim + action_dim, hidden_dim, 2)

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
        context = self.noise_level(sigma) + self.start(start)
        earlier = torch.cat([torch.zeros_like(actions[:, :1]), actions[:, :-1]], dim=1)
        rows = torch.cat([scale_noisy(noisy, sigma), earlier], dim=-1)
        features, _ = self.recurrence(nn.functional.silu(self.row(rows) + context[:, None]))
        features = features + context[:, None]
        outcomes = self.outcome_head(torch.cat([features, actions], dim=-1))
        return torch.cat([self.state_head(features), outcomes], dim=-1)


def _head(input_dim: int, hidden_dim: int, output_dim: int) -> nn.Sequential:
    """Build an output network that starts at zero: an untrained model predicts that nothing changes."""
    head = nn.Sequential(nn.Linear(input_dim, hidden_dim), nn.SiLU(), nn.Linear(hidden_dim, output_dim))
    nn.init.zeros_(head[-1].weight)
    nn.init.zeros_(head[-1].bias)
    return head
