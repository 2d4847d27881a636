"""Real experience, kept so that trajectory models can be trained on windows of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rrl.checks import require_at_least
from rrl.types import Rollout, WindowBatch

FIELDS = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations")


class StartStates(NamedTuple):
    """Real states from which imagined trajectories begin."""

    observations: Tensor
    """Raw observations. Shape ``[B, O]``."""
    simulator_states: Tensor
    """The simulator states behind them, float64; ``S`` is 0 where the environments do not offer them. ``[B, S]``."""


class TrajectoryBuffer:
    """A ring over time of what each world experienced; the oldest steps give way to the newest.

    Windows are drawn uniformly over all starting steps. They may begin close to an episode's end; what lies behind the
    end is padded and marked as not valid, so no window ever joins two episodes.

    ``capacity`` counts transitions over all ``N`` worlds. A window has ``H = horizon >= 2`` rows, its actions clipped
    to the action box ``[A]``.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        horizon: int,
        *,
        action_low: Tensor,
        action_high: Tensor,
        generator: torch.Generator,
    ) -> None:
        require_at_least(2, horizon=horizon)
        self.length = capacity // num_envs
        if self.length < horizon:
            raise ValueError(f"`capacity` must hold a window of {horizon} steps of {num_envs} worlds, got {capacity}.")
        self.num_envs, self.horizon = num_envs, horizon
        self.action_low, self.action_high, self.generator = action_low, action_high, generator
        self.columns: dict[str, Tensor] = {}
        self.size = 0  # steps stored of each world
        self.head = 0  # where the next step is written

    def add(self, rollout: Rollout) -> None:
        """Append a rollout of all worlds, no longer than the buffer, which continues where the previous one ended."""
        num_steps, num_envs = rollout.transitions.rewards.shape
        if num_envs != self.num_envs or num_steps > self.length:
            raise ValueError(
                f"a rollout must have at most {self.length} steps of {self.num_envs} worlds, "
                f"got {num_steps} steps of {num_envs}."
            )
        parts = {name: getattr(rollout.transitions, name) for name in FIELDS}
        parts["simulator_states"] = rollout.simulator_states
        rows = (self.head + torch.arange(num_steps)) % self.length
        for name, part in parts.items():
            if name not in self.columns:
                self.columns[name] = torch.zeros(self.length, num_envs, *part.shape[2:], dtype=part.dtype)
            self.columns[name][rows] = part
        self.head = (self.head + num_steps) % self.length
        self.size = min(self.size + num_steps, self.length)

    def sample_windows(self, count: int, *, newest_steps: int | None = None) -> WindowBatch:
        """Draw ``B`` windows uniformly with replacement, where given from the newest steps of each world only."""
        span = self.size if newest_steps is None else min(newest_steps, self.size)
        starts = span - self.horizon + 1
        if starts < 1:
            raise ValueError(f"a window needs {self.horizon} stored steps of each world, got {span}.")
        first = self.size - span + torch.randint(starts, (count, 1), generator=self.generator)
        rows = self._rows(first + torch.arange(self.horizon))
        worlds = torch.randint(self.num_envs, (count, 1), generator=self.generator).expand_as(rows)
        column = {name: self.columns[name][rows, worlds] for name in FIELDS}
        ended = column["terminated"] | column["truncated"]
        valid = torch.ones_like(ended)
        valid[:, 1:] = ended[:, :-1].cumsum(dim=1) == 0
        return WindowBatch(
            observations=self._follow(column["observations"][:, 0], column["next_observations"], valid),
            actions=column["actions"].clamp(self.action_low, self.action_high),
            rewards=column["rewards"] * valid,
            terminated=column["terminated"] & valid,
            valid=valid,
        )

    @staticmethod
    def _follow(first: Tensor, following: Tensor, valid: Tensor) -> Tensor:
        """Chain the observations of a window, repeating the last one behind an episode's end."""
        last_valid = valid.sum(dim=1, keepdim=True) - 1
        steps = torch.minimum(torch.arange(valid.shape[1] - 1).expand(len(valid), -1), last_valid)
        chained = following.gather(1, steps.unsqueeze(-1).expand(-1, -1, following.shape[-1]))
        return torch.cat([first.unsqueeze(1), chained], dim=1)

    def sample_starts(self, count: int, *, recent: int, generator: torch.Generator | None = None) -> StartStates:
        """Draw ``B`` start states uniformly with replacement from the ``recent`` newest transitions over all worlds.

        Those who only look bring a generator, and leave the buffer's own as it is.
        """
        if self.size == 0:
            raise ValueError("start states need at least one stored step, the buffer is empty.")
        window = min(self.size, max(recent // self.num_envs, 1))
        generator = generator or self.generator
        offsets = self.size - window + torch.randint(window, (count,), generator=generator)
        rows, worlds = self._rows(offsets), torch.randint(self.num_envs, (count,), generator=generator)
        return StartStates(self.columns["observations"][rows, worlds], self.columns["simulator_states"][rows, worlds])

    def _rows(self, offsets: Tensor) -> Tensor:
        """Map ages (0 is the oldest stored step) to rows of the ring."""
        return (self.head - self.size + offsets) % self.length

    def cut(self) -> None:
        """Mark the newest step of each world as the last of its episode, so that no window leads over it."""
        if self.size > 0:
            self.columns["truncated"][self.head - 1] = True

    def state_dict(self) -> dict[str, Any]:
        """Return the stored experience, oldest first, and the random state."""
        rows = self._rows(torch.arange(self.size))
        columns = {name: column[rows] for name, column in self.columns.items()}
        return {"columns": columns, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore experience of as many worlds, no longer than this buffer."""
        self.size, self.head, self.columns = 0, 0, {}
        for name, column in state["columns"].items():
            if column.shape[0] > self.length or column.shape[1] != self.num_envs:
                raise ValueError(
                    f"the saved experience has shape {list(column.shape[:2])}, "
                    f"the buffer holds [{self.length}, {self.num_envs}]."
                )
            self.columns[name] = torch.zeros(self.length, *column.shape[1:], dtype=column.dtype)
            self.columns[name][: len(column)] = column
            self.size, self.head = len(column), len(column) % self.length
        self.generator.set_state(state["generator"])
