"""Which states count as failures: the settings of the labels, and the labellers that they build."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least, require_one_of, require_positive, require_within
from rrl.distributed import gather_objects
from rrl.risk.labels import (
    FailureLabels,
    decided_within,
    failure_labels_batch_quantile,
    failure_labels_below_return,
    failure_labels_within_horizon,
    require_longer_rollout,
)
from rrl.spaces import Spaces
from rrl.types import Rollout, RolloutBatch


class Labeller(nn.Module, ABC):
    """Labels the states of rollouts."""

    needs_tests = False
    """True where it learns from tests of the protagonist against the learned adversary."""

    @abstractmethod
    def forward(self, rollout: Rollout) -> FailureLabels:
        """Label the states ``[T, N]`` of a rollout."""

    def check_rollouts(self, num_steps: int) -> None:
        """Refuse, with a ValueError, rollouts of too few steps to label any state."""

    def take_test(self, mean_return: float) -> None:
        """Take in the mean return of a test against the learned adversary; ignored unless `needs_tests`."""

    @property
    def return_threshold(self) -> float:
        """Return below which an episode counts as failed; not a number until, or where, there is none."""
        return math.nan


class LabelSource(ABC):
    """Settings: what counts as a failure."""

    @abstractmethod
    def build(self, spaces: Spaces) -> Labeller:
        """Build the labeller for a task."""


@dataclass(frozen=True, kw_only=True)
class Horizon(LabelSource):
    """Labels that look ahead for a short time."""

    horizon_seconds: float = 0.5
    """How soon, simulated seconds."""
    horizon_steps: int | None = None
    """The same in environment steps, which then counts."""

    def __post_init__(self) -> None:
        require_positive(horizon_seconds=self.horizon_seconds)
        require_at_least(1, horizon_steps=self.horizon_steps)

    def steps(self, step_seconds: float | None) -> int:
        """Convert the horizon to environment steps, at least 1.

        Example:
            >>> HorizonLabels(horizon_seconds=0.5).steps(0.05)
            10
        """
        if self.horizon_steps is not None:
            return self.horizon_steps
        if step_seconds is None:
            raise ValueError("`horizon_steps` must be given where the environment does not tell the length of a step.")
        return max(round(self.horizon_seconds / step_seconds), 1)

    def build(self, spaces: Spaces) -> Labeller:
        """Build a `HorizonLabeller`."""
        return HorizonLabeller(self.label, self.steps(spaces.step_seconds))

    @abstractmethod
    def label(self, batch: RolloutBatch, steps: int) -> FailureLabels:
        """Label the states ``[T, N]`` of transitions by what happens within some steps."""


@dataclass(frozen=True, kw_only=True)
class HorizonLabels(Horizon):
    """The episode terminates soon."""

    def build(self, spaces: Spaces) -> Labeller:
        """Build a `HorizonLabeller`; only tasks whose episodes can fail have such labels."""
        if not spaces.can_fail:
            raise ValueError(
                "`labels: HorizonLabels` needs a task whose episodes can fail, and those of this one never do; "
                "use `QuantileLabels`."
            )
        return super().build(spaces)

    def label(self, batch: RolloutBatch, steps: int) -> FailureLabels:
        """Label by `failure_labels_within_horizon`."""
        return failure_labels_within_horizon(batch.terminated, batch.truncated, horizon_steps=steps)


@dataclass(frozen=True, kw_only=True)
class QuantileLabels(Horizon):
    """The rewards to come are low among those of the rollout: for tasks that cannot terminate (HalfCheetah)."""

    fraction: float = 0.2
    """Share of the states that counts as failing, in ``(0, 1)``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within("(0, 1)", fraction=self.fraction)

    def label(self, batch: RolloutBatch, steps: int) -> FailureLabels:
        """Label by `failure_labels_batch_quantile`."""
        ends = batch.terminated, batch.truncated
        return failure_labels_batch_quantile(batch.rewards, *ends, horizon_steps=steps, fraction=self.fraction)


@dataclass(frozen=True, kw_only=True)
class ReturnLabels(LabelSource):
    """The return of the episode is low among those of the rollout."""

    percentile: float = 20.0
    """Percentile of the returns below which an episode counts as failed, in ``(0, 100)``; ``20`` in the paper."""

    def __post_init__(self) -> None:
        require_within("(0, 100)", percentile=self.percentile)

    def build(self, spaces: Spaces) -> Labeller:
        """Build a `ReturnLabeller`."""
        return ReturnLabeller(self.percentile)


@dataclass(frozen=True, kw_only=True)
class AttackReturnLabels(ReturnLabels):
    """The return of the episode is low among those of tests against the learned adversary, as in the paper."""

    keep: Literal["first", "last"] = "first"
    """Which tests: the first ones for good, as in the paper, which loses all positives as the policy improves, and with
    them the adversary; or always the last ones."""
    window: int = 5
    """Number of tests ``M``. The paper does not state it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(("first", "last"), keep=self.keep)
        require_at_least(1, window=self.window)

    def build(self, spaces: Spaces) -> Labeller:
        """Build a `ReturnLabeller` that waits for tests."""
        return ReturnLabeller(self.percentile, window=self.window, keep_first=self.keep == "first")


class HorizonLabeller(Labeller):
    """Labels by what happens within some steps; states whose horizon reaches beyond the rollout are unknown."""

    def __init__(self, label: Callable[[RolloutBatch, int], FailureLabels], steps: int) -> None:
        super().__init__()
        self._label, self._steps = label, steps

    def check_rollouts(self, num_steps: int) -> None:
        """Refuse rollouts that are not longer than the horizon."""
        require_longer_rollout(num_steps, self._steps)

    def forward(self, rollout: Rollout) -> FailureLabels:
        """Label by the settings' own ``label``."""
        return decided_within(self._label(rollout.transitions, self._steps), self._steps)


class ReturnLabeller(Labeller):
    """Labels by `failure_labels_below_return`, with the threshold of `AttackReturnLabels`.

    Without a window the returns are those of the rollout's own episodes.

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, Algorithm 1, lines 2 to 4. Their
        slice ``[k - M + 1 : k]`` is read as the last ``M`` returns available.
    """

    threshold: Tensor
    """Failure threshold, in units of return; not a number until enough returns have been seen. Scalar, float64."""
    recent: Tensor
    """Last test returns, oldest first; not a number where there are fewer. Shape ``[M]``, float64."""

    def __init__(self, percentile: float, *, window: int = 0, keep_first: bool = False) -> None:
        super().__init__()
        self.percentile, self.keep_first, self.needs_tests = percentile, keep_first, window > 0
        self.register_buffer("threshold", torch.tensor(math.nan, dtype=torch.float64))
        self.register_buffer("recent", torch.full((window,), math.nan, dtype=torch.float64))

    def forward(self, rollout: Rollout) -> FailureLabels:
        """Move the threshold to the episodes of all ranks unless tests do, then label."""
        if not self.needs_tests:
            self._move(torch.cat(gather_objects(rollout.episodes.returns.cpu())))
        if rollout.attack is None:
            raise ValueError("`rollout` must have an adversary.")
        batch, previous = rollout.transitions, rollout.attack.previous_returns
        columns = batch.rewards, batch.terminated, batch.truncated
        return failure_labels_below_return(*columns, self.return_threshold, previous_returns=previous)

    @property
    def return_threshold(self) -> float:
        """The threshold."""
        return float(self.threshold)

    def take_test(self, mean_return: float) -> None:
        """Move the threshold once the window is full."""
        if self.needs_tests:
            self.recent.copy_(torch.cat([self.recent[1:], self.recent.new_tensor([mean_return])]))
            if not (self.recent.isnan().any() or (self.keep_first and self.threshold.isfinite())):
                self._move(self.recent)

    def _move(self, returns: Tensor) -> None:
        if returns.numel() > 0:
            self.threshold.copy_(returns.to(self.threshold).quantile(self.percentile / 100.0))
