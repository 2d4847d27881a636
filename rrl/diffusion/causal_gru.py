"""A recurrent denoiser that knows the arrow of time: no state depends on a later action."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rrl.diffusion.denoiser import NoiseLevelEmbedding, TrainableDenoiser, scale_noisy


class CausalGRUDenoiser(TrainableDenoiser):
    """A recurrent denoiser, causal as :class:`~rrl.diffusion.causal.CausalDenoiser` is, and several times cheaper.

    One pass over the rows gives all states: that in row ``t`` sees the noisy states up to ``t`` and the actions and
    outcomes (reward, end of the episode) before ``t``; the outcome of row ``t`` sees the state that it led to.

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
        self.outcome_head = _head(hidden_dim, hidden_dim, 2)

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
        scaled = scale_noisy(noisy, sigma)
        causes = torch.cat([scaled[..., self.obs_dim :], actions], dim=-1)
        earlier = torch.cat([torch.zeros_like(causes[:, :1]), causes[:, :-1]], dim=1)
        rows = torch.cat([scaled[..., : self.obs_dim], earlier], dim=-1)
        features, _ = self.recurrence(nn.functional.silu(self.row(rows) + context[:, None]))
        features = features + context[:, None]
        # The last row has no successor; its outcome is a guess that nothing uses.
        successors = torch.cat([features[:, 1:], features[:, -1:]], dim=1)
        return torch.cat([self.state_head(features), self.outcome_head(successors)], dim=-1)


def _head(input_dim: int, hidden_dim: int, output_dim: int) -> nn.Sequential:
    """Build an output network that starts at zero: an untrained model predicts that nothing changes."""
    hidden, output = nn.Linear(input_dim, hidden_dim), nn.Linear(hidden_dim, output_dim)
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    return nn.Sequential(hidden, nn.SiLU(), output)
