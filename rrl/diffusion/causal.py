"""Denoisers that respect the arrow of time: no state depends on a later action."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least
from rrl.diffusion.denoiser import (
    DenoiseFunction,
    Denoiser,
    DenoiserSettings,
    NoiseLevelEmbedding,
    denoising_loss,
    scale_noisy,
    start_at_zero,
)


class CausalDenoiser(Denoiser):
    r"""Runs a denoiser on every prefix of a trajectory, and keeps the last row of each.

    A network that sees a whole window learns :math:`p(s | a)` from data in which actions answer states, so it also
    reads states off the actions that followed them: it explains an action instead of obeying it. What a policy improves
    on must be the effect of its actions, :math:`p(s | do(a)) = \prod_t p(s_t | s_{<t}, a_{<t})`, and that is what the
    network learns from prefixes. The joint sampling of states and actions then is a triangular fixed-point iteration,
    which converges in ``H`` steps however steep the policy is.

    The state in row ``t`` sees the noisy states up to ``t`` and the actions and outcomes (reward, end of the episode)
    before ``t``; the outcome of row ``t`` sees the state that it led to. The price is ``H - 1`` times the work, in
    imagining alone: one random prefix of a trajectory is enough to train on.

    The estimate is zero where there is nothing to estimate: the state of row 0, which is given, and the outcome of the
    last row, which has no successor.

    Args:
        network: A denoiser for actions of one more feature, which tells the rows of the prefix from those behind it.
        obs_dim: Observation size ``O``.
        horizon: Rows of a trajectory ``H``.
    """

    def __init__(self, network: DenoiseFunction, *, obs_dim: int, horizon: int) -> None:
        super().__init__()
        self.network, self.obs_dim, self.horizon = network, obs_dim, horizon

    def forward(self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean trajectories."""
        count, repeats = len(noisy), self.horizon - 1
        last = torch.arange(1, self.horizon, device=noisy.device)
        inputs = (noisy, actions, start, sigma)
        noisy_, actions_, start_, sigma_ = (part.repeat_interleave(repeats, dim=0) for part in inputs)
        estimate = self._denoise_prefixes(noisy_, actions_, start_, sigma_, last.repeat(count))
        estimate = estimate.unflatten(0, (count, repeats))
        result = torch.zeros_like(noisy)
        result[:, 1:, : self.obs_dim] = estimate[:, last - 1, last, : self.obs_dim]
        result[:, :-1, self.obs_dim :] = estimate[:, last - 1, last - 1, self.obs_dim :]
        return result

    def training_loss(
        self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor, *, x0: Tensor, weights: Tensor
    ) -> Tensor:
        """Compute the loss on one random prefix of each trajectory, an estimate of that on all."""
        last = torch.randint(1, self.horizon, (len(noisy),), device=noisy.device)
        estimate = self._denoise_prefixes(noisy, actions, start, sigma, last)
        row = torch.arange(self.horizon, device=noisy.device)
        of_state, of_outcome = row == last[:, None], row == last[:, None] - 1
        widths = (self.obs_dim, noisy.shape[-1] - self.obs_dim)
        drawn = torch.cat(
            [part[..., None].expand(-1, -1, width) for part, width in zip((of_state, of_outcome), widths, strict=True)],
            dim=-1,
        )
        return denoising_loss(estimate, x0, weights * drawn)

    def _denoise_prefixes(self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor, last: Tensor) -> Tensor:
        """Denoise the prefix of each trajectory that ends with the state of row ``last``. ``[B, H, D]`` throughout."""
        row = torch.arange(self.horizon, device=noisy.device)
        sees_state = (row <= last[:, None])[..., None].to(noisy)
        sees_action = (row < last[:, None])[..., None].to(noisy)
        states, outcomes = noisy[..., : self.obs_dim] * sees_state, noisy[..., self.obs_dim :] * sees_action
        causes = torch.cat([actions * sees_action, sees_action], dim=-1)
        return self.network(torch.cat([states, outcomes], dim=-1), causes, start, sigma)


@dataclass(frozen=True, kw_only=True)
class CausalGRU(DenoiserSettings):
    """One pass of a recurrent network: on a CPU several times cheaper than any network on every prefix."""

    width: int = 128
    """Width of the recurrent state."""

    def __post_init__(self) -> None:
        """Check the width."""
        require_at_least(1, width=self.width)

    def build(self, obs_dim: int, action_dim: int, horizon: int) -> Denoiser:
        """Make the network; it takes any horizon of at least 2."""
        require_at_least(2, horizon=horizon)
        return CausalGRUDenoiser(obs_dim, action_dim, self.width)


class CausalGRUDenoiser(Denoiser):
    """A recurrent denoiser, whose rows see what those of :class:`~rrl.diffusion.causal.CausalDenoiser` do."""

    def __init__(self, obs_dim: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.obs_dim = obs_dim
        self.noise_level = NoiseLevelEmbedding(width)
        self.start = nn.Linear(obs_dim, width)
        self.row = nn.Linear(obs_dim + 2 + action_dim, width)
        self.recurrence = nn.GRU(width, width, batch_first=True)
        self.state_head, self.outcome_head = _head(width, obs_dim), _head(width, 2)

    def forward(self, noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean trajectories."""
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


def _head(width: int, output_dim: int) -> nn.Sequential:
    hidden, output = nn.Linear(width, width), nn.Linear(width, output_dim)
    start_at_zero(output)
    return nn.Sequential(hidden, nn.SiLU(), output)
