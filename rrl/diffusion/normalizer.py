"""To and from the scale on which the diffusion model works."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rrl.types import WindowBatch

SCALE_FLOOR = 1e-3
"""Smallest scale in raw units; without it a feature that never moved would blow up rounding errors."""
START_LIMIT = 10.0
"""Largest normalised start feature in standard deviations; keeps outliers from saturating the networks."""


class TrajectoryNormalizer(nn.Module):
    """Encodes windows of real experience as trajectories of unit scale, and decodes imagined ones.

    A row of a trajectory holds ``D = O + 2`` features: the difference of the observation from row 0 on a scale of its
    own per row and feature, the standardised reward, and the end of the episode as -1 or 1. The statistics run over
    all windows; before the first update the scales are 1.

    The end flag is not standardised: a rare event would become an enormous outlier.

    Args:
        horizon: Rows of a window ``H``.
        obs_dim: Observation size ``O``.
        action_low: Lower bounds of the action box, finite. ``A`` numbers.
        action_high: Upper bounds of the action box, finite. ``A`` numbers.

    Raises:
        ValueError: If a bound of the action box is not finite or the box is empty.
    """

    action_low: Tensor
    """Lower bounds of the action box. Shape ``[A]``."""
    action_high: Tensor
    """Upper bounds of the action box. Shape ``[A]``."""
    totals: Tensor
    """Sums over all windows so far, see ``statistics``. float64."""
    difference_scale: Tensor
    """Root mean square of the differences from row 0. Shape ``[H, O]``."""
    start_mean: Tensor
    """Mean start state. Shape ``[O]``."""
    start_std: Tensor
    """Standard deviation of the start states. Shape ``[O]``."""
    reward_mean: Tensor
    """Mean reward. Scalar."""
    reward_std: Tensor
    """Standard deviation of the rewards. Scalar."""

    def __init__(self, horizon: int, obs_dim: int, action_low: Sequence[float], action_high: Sequence[float]) -> None:
        super().__init__()
        low, high = torch.tensor(action_low, dtype=torch.float32), torch.tensor(action_high, dtype=torch.float32)
        if not (torch.isfinite(low).all() and torch.isfinite(high).all() and (low < high).all()):
            raise ValueError(f"`action_low` and `action_high` must be finite, low < high, got {low} and {high}.")
        self.horizon, self.obs_dim = horizon, obs_dim
        self.register_buffer("action_low", low)
        self.register_buffer("action_high", high)
        self.register_buffer("totals", torch.zeros(sum(self._sizes), dtype=torch.float64))
        self.register_buffer("difference_scale", torch.ones(horizon, obs_dim))
        self.register_buffer("start_mean", torch.zeros(obs_dim))
        self.register_buffer("start_std", torch.ones(obs_dim))
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_std", torch.ones(()))

    @property
    def _sizes(self) -> list[int]:
        """Sizes of the blocks of ``statistics``."""
        return [self.horizon, self.horizon * self.obs_dim, self.obs_dim, self.obs_dim, 3]

    @property
    def action_half_width(self) -> Tensor:
        """Half the width of the action box: raw units per normalised unit. Shape ``[A]``."""
        return 0.5 * (self.action_high - self.action_low)

    def statistics(self, windows: WindowBatch) -> Tensor:
        """Sum what the scales need over windows; sums of several processes add up.

        Returns:
            Flat float64 vector: observed rows ``[H]``, squared differences ``[H * O]``, start states ``[O]``, their
            squares ``[O]``, and number, sum and sum of squares of the rewards ``[3]``.
        """
        observations = windows.observations.double()
        start, observed, valid = observations[:, 0], windows.observed.double(), windows.valid.double()
        squares = (observations - start[:, None]).square() * observed[..., None]
        rewards = windows.rewards.double() * valid
        reward_sums = torch.stack([valid.sum(), rewards.sum(), rewards.square().sum()])
        blocks = [observed.sum(0), squares.sum(0).flatten(), start.sum(0), start.square().sum(0), reward_sums]
        return torch.cat(blocks)

    def update(self, statistics: Tensor) -> None:
        """Take the :meth:`statistics` of new windows, possibly of all processes, into the scales."""
        self.totals += statistics
        counts, squares, start_sum, start_squares, rewards = torch.split(self.totals, self._sizes)
        # Row 0 is observed in every window, so its count is the number of windows.
        mean_square = squares.view(self.horizon, self.obs_dim) / counts.clamp(min=1.0)[:, None]
        unseen = (counts == 0.0)[:, None]
        self.difference_scale.copy_(torch.where(unseen, 1.0, mean_square.sqrt().clamp(min=SCALE_FLOOR)))
        self.start_mean.copy_(start_sum / counts[0])
        self.start_std.copy_(_std(counts[0], start_sum, start_squares))
        self.reward_mean.copy_(rewards[1] / rewards[0])
        self.reward_std.copy_(_std(*rewards))

    def encode(self, windows: WindowBatch) -> Tensor:
        """Bring windows to the scale of the model: clean trajectories ``x0`` of shape ``[B, H, D]``."""
        differences = (windows.observations - windows.observations[:, :1]) / self.difference_scale
        rewards = (windows.rewards - self.reward_mean) / self.reward_std
        ended = 2.0 * windows.terminated.to(rewards) - 1.0
        return torch.cat([differences, rewards[..., None], ended[..., None]], dim=-1)

    def mask(self, windows: WindowBatch) -> Tensor:
        """Mark with 1 what was observed; row 0's observations, which are given, and padding are 0. ``[B, H, D]``."""
        observed = windows.observed.to(windows.rewards)
        observed[:, 0] = 0.0
        valid = windows.valid.to(windows.rewards)[..., None]
        return torch.cat([observed[..., None].expand(-1, -1, self.obs_dim), valid, valid], dim=-1)

    def encode_start(self, start: Tensor) -> Tensor:
        """Standardise raw states for the networks, to at most 10 standard deviations. Shape ``[..., O]``."""
        return ((start - self.start_mean) / self.start_std).clamp(-START_LIMIT, START_LIMIT)

    def encode_actions(self, actions: Tensor) -> Tensor:
        """Clip actions to the action box, as the simulator does, and scale it to ``[-1, 1]``. Shape ``[..., A]``."""
        clipped = torch.minimum(torch.maximum(actions, self.action_low), self.action_high)
        return (clipped - self.action_low) / self.action_half_width - 1.0

    def decode(self, x0: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bring trajectories ``[B, H, D]`` back to raw units.

        Returns:
            Observations, whose row 0 is the start state to the bit, rewards, and score of the end of the episode: about
            1 where the transition terminates, -1 where not. Shapes ``[B, H, O]``, ``[B, H]``, ``[B, H]``.
        """
        later = start[:, None] + x0[:, 1:, : self.obs_dim] * self.difference_scale[1:]
        observations = torch.cat([start[:, None], later], dim=1)
        return observations, x0[..., -2] * self.reward_std + self.reward_mean, x0[..., -1]

    def encode_transitions(self, windows: WindowBatch) -> tuple[Tensor, Tensor]:
        """Bring each transition to unit scale: the change of the observation, the reward, and the end as -1 or 1.

        Returns:
            Transitions, and 1 where they were observed. Both of shape ``[B, H - 1, O + 2]``.
        """
        changes = windows.observations.diff(dim=1) / self.difference_scale[1]
        rewards = (windows.rewards[:, :-1] - self.reward_mean) / self.reward_std
        ended = 2.0 * windows.terminated[:, :-1].to(rewards) - 1.0
        x0 = torch.cat([changes, rewards[..., None], ended[..., None]], dim=-1)
        return x0, windows.valid[:, :-1, None].to(rewards).expand_as(x0)

    def decode_transition(self, x0: Tensor, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bring one transition ``[B, O + 2]`` from raw observations ``[B, O]`` back to raw units.

        Returns:
            Following observations ``[B, O]``, rewards ``[B]`` and scores of the end of the episode ``[B]``.
        """
        following = observations + x0[:, : self.obs_dim] * self.difference_scale[1]
        return following, x0[:, -2] * self.reward_std + self.reward_mean, x0[:, -1]


def _std(count: Tensor, total: Tensor, squares: Tensor) -> Tensor:
    """Standard deviation from sums, at least ``SCALE_FLOOR``."""
    return (squares / count - (total / count).square()).clamp(min=SCALE_FLOOR**2).sqrt()
