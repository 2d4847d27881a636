"""Denoisers that respect the arrow of time: no state depends on a later action."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least
from rrl.diffusion.denoiser import (
    DenoiserSettings,
    NoiseLevelEmbedding,
    WindowDenoiser,
    scale_noisy,
    start_at_zero,
)


class CausalDenoiser(WindowDenoiser):
    r"""A denoiser whose rows respect the arrow of time.

    A network that sees a whole window learns :math:`p(s | a)` from data in which actions answer states, so it also
    reads states off the actions that followed them: it explains an action instead of obeying it. What a policy improves
    on must be the effect of its actions, :math:`p(s | do(a)) = \prod_t p(s_t | s_{<t}, a_{<t})`, and that is what a
    causal network learns. The joint sampling of states and actions then is a triangular fixed-point iteration, which
    converges in ``H`` steps however steep the policy is.

    The state in row ``t`` sees the noisy states up to ``t`` and the actions and outcomes (reward, end of the episode)
    before ``t``; the outcome of row ``t`` sees what the state that it led to does.

    The estimate is zero where there is nothing to estimate: the state of row 0, which is given, and the outcome of the
    last row, which has no successor.
    """

    def __init__(self, obs_dim: int) -> None:
        super().__init__()
        self.obs_dim = obs_dim

    def forward(self, noisy: Tensor, actions: Tensor, context: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean trajectories."""
        scaled = scale_noisy(noisy, sigma)
        causes = torch.cat([scaled[..., self.obs_dim :], actions], dim=-1)
        earlier = torch.cat([torch.zeros_like(causes[:, :1]), causes[:, :-1]], dim=1)
        estimate = self.denoise_rows(scaled[..., : self.obs_dim], earlier, context, sigma)
        nothing = torch.zeros_like(noisy[:, :1])
        states = torch.cat([nothing[..., : self.obs_dim], estimate[:, 1:, : self.obs_dim]], dim=1)
        outcomes = torch.cat([estimate[:, 1:, self.obs_dim :], nothing[..., self.obs_dim :]], dim=1)
        return torch.cat([states, outcomes], dim=-1)

    def training_loss(
        self, noisy: Tensor, actions: Tensor, context: Tensor, sigma: Tensor, *, x0: Tensor, weights: Tensor
    ) -> Tensor:
        """Compute the loss on all rows, without the outcome of the last, which is not estimated."""
        weights = weights.clone()
        weights[:, -1, self.obs_dim :] = 0.0
        return super().training_loss(noisy, actions, context, sigma, x0=x0, weights=weights)

    @abstractmethod
    def denoise_rows(self, states: Tensor, causes: Tensor, context: Tensor, sigma: Tensor) -> Tensor:
        """Estimate from each row and those before it its clean state, and the outcome that came with it.

        Args:
            states: Noisy states at unit scale. Shape ``[B, H, O]``.
            causes: Outcome and action of the row before; 0 in the first. Shape ``[B, H, 2 + A]``.
            context: Normalised start states, and what else is told. Shape ``[B, C]``.
            sigma: Noise levels. Shape ``[B]``.

        Returns:
            Shape ``[B, H, O + 2]``.
        """


@dataclass(frozen=True, kw_only=True)
class CausalGRU(DenoiserSettings):
    """One pass of a recurrent network."""

    width: int = 128
    """Width of the recurrent state."""

    def __post_init__(self) -> None:
        require_at_least(1, width=self.width)

    def build(self, obs_dim: int, action_dim: int, horizon: int, *, told: int = 0) -> WindowDenoiser:
        """Make the network; it takes any horizon of at least 2."""
        require_at_least(2, horizon=horizon)
        return CausalGRUDenoiser(obs_dim, action_dim, self.width, told=told)


class CausalGRUDenoiser(CausalDenoiser):
    """A recurrent denoiser."""

    def __init__(self, obs_dim: int, action_dim: int, width: int, *, told: int) -> None:
        super().__init__(obs_dim)
        self.noise_level = NoiseLevelEmbedding(width)
        self.context = nn.Linear(obs_dim + told, width)
        self.row = nn.Linear(obs_dim + 2 + action_dim, width)
        self.recurrence = nn.GRU(width, width, batch_first=True)
        self.state_head, self.outcome_head = _head(width, obs_dim), _head(width, 2)

    def denoise_rows(self, states: Tensor, causes: Tensor, context: Tensor, sigma: Tensor) -> Tensor:
        """Run the recurrence over the rows."""
        setting = (self.noise_level(sigma) + self.context(context))[:, None]
        rows = self.row(torch.cat([states, causes], dim=-1))
        features = self.recurrence(nn.functional.silu(rows + setting))[0] + setting
        return torch.cat([self.state_head(features), self.outcome_head(features)], dim=-1)


def _head(width: int, output_dim: int) -> nn.Sequential:
    hidden, output = nn.Linear(width, width), nn.Linear(width, output_dim)
    start_at_zero(output)
    return nn.Sequential(hidden, nn.SiLU(), output)
