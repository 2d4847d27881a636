"""Failure labels: what the risk model is asked to predict, and of which states the answer is known at all.

A time limit is no failure. A state whose future the rollout does not show is neither positive nor negative: it is
unknown, and leaving it out keeps the base rate honest. Which of these labels a run uses: `rrl.risk.label_sources`.

``rewards``, ``terminated`` and ``truncated`` are as in :class:`rrl.types.RolloutBatch`, a step that is both counts as
terminated; masks that are not booleans of one shape ``[T, N]`` raise ValueError.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrl.checks import require_at_least, require_tensor
from rrl.risk.dataset import trajectory_ids


class FailureLabels(NamedTuple):
    """Labels of the states of a rollout. Boolean, shape ``[T, N]``."""

    labels: Tensor
    """True where the state leads to a failure, False where it does not or that is unknown."""
    known: Tensor
    """True where the rollout decides the label. Only these states may be learnt from."""


def failure_labels_within_horizon(terminated: Tensor, truncated: Tensor, horizon_steps: int) -> FailureLabels:
    """Label the states from which the episode terminates within a short horizon.

    The step taken *in* the state counts: with a horizon of 1 exactly the last state before a termination is positive.
    A state is negative as soon as ``horizon_steps`` steps were survived, whatever happened later. It is unknown where a
    time limit or the end of the rollout came before that.

    Example:
        >>> terminated = torch.tensor([[False], [False], [True], [False]])
        >>> result = failure_labels_within_horizon(terminated, torch.zeros_like(terminated), horizon_steps=2)
        >>> result.labels.flatten(), result.known.flatten()
        (tensor([False,  True,  True, False]), tensor([ True,  True,  True, False]))

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, section 3.2 ("lead to a failure
        within a short horizon"); their Algorithm 1 labels by returns instead, see `failure_labels_below_return`.
    """
    require_at_least(1, horizon_steps=horizon_steps)
    steps_seen, fails = _fate(terminated, truncated)
    labels = fails & (steps_seen <= horizon_steps)
    return FailureLabels(labels, labels | (steps_seen >= horizon_steps))


def failure_labels_below_return(
    rewards: Tensor, terminated: Tensor, truncated: Tensor, threshold: float, *, previous_returns: Tensor
) -> FailureLabels:
    r"""Label every state of the trajectories whose return stays below a threshold.

    .. math::
        y_t = \mathbb{1}[R(\tau) < \tau_\mathrm{fail}] \quad \text{for all states of } \tau

    Trajectories that the rollout's end leaves open are unknown; a trajectory ended by its time limit is complete and
    judged like every other. Where the threshold is not a number all are unknown. ``previous_returns`` ``[N]`` is what
    each world's running episode had collected before the rollout began.

    Example:
        >>> rewards, ended = torch.tensor([[1.0], [1.0], [5.0]]), torch.tensor([[False], [True], [True]])
        >>> none = torch.zeros_like(ended)
        >>> failure_labels_below_return(rewards, ended, none, 4.0, previous_returns=torch.zeros(1)).labels.flatten()
        tensor([ True,  True, False])

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, Algorithm 1, line 5. Reading a
        label "to every state" as the comparison of the trajectory's return is ours; the paper gives no formula.
    """
    returns, complete = trajectory_returns(rewards, terminated, truncated, previous_returns)
    known = complete & (not math.isnan(threshold))
    return FailureLabels((returns < threshold) & known, known)


def failure_labels_batch_quantile(
    rewards: Tensor, terminated: Tensor, truncated: Tensor, *, horizon_steps: int, fraction: float
) -> FailureLabels:
    """Label the states whose rewards over a horizon lie in the lowest ``fraction`` of those that are known.

    A termination ends the sum early. The comparison is strict, so a batch in which all states do equally well has no
    failures.

    Example:
        >>> rewards, never = torch.tensor([[1.0], [0.0], [2.0], [3.0]]), torch.zeros(4, 1, dtype=torch.bool)
        >>> failure_labels_batch_quantile(rewards, never, never, horizon_steps=1, fraction=0.25).labels.flatten()
        tensor([False,  True, False, False])
    """
    require_at_least(1, horizon_steps=horizon_steps)
    steps_seen, fails = _fate(terminated, truncated)
    known = fails | (steps_seen >= horizon_steps)
    # Differences of running sums lose digits in float32.
    before = torch.cat([torch.zeros_like(rewards[:1]), rewards]).double().cumsum(0)
    first = torch.arange(rewards.shape[0], device=rewards.device).unsqueeze(1)
    last = first + steps_seen.clamp(max=horizon_steps)
    returns = before.gather(0, last) - before[:-1]
    if not known.any():
        return FailureLabels(known, known)
    return FailureLabels(known & (returns < returns[known].quantile(fraction)), known)


def trajectory_returns(
    rewards: Tensor, terminated: Tensor, truncated: Tensor, previous_returns: Tensor
) -> tuple[Tensor, Tensor]:
    """Give every state the undiscounted return of its whole trajectory, and whether it ended within the rollout."""
    complete = _next_end(terminated, truncated) < terminated.shape[0]
    ids = trajectory_ids(terminated, truncated)
    sums = rewards.new_zeros((rewards.shape[0] + 1) * rewards.shape[1])
    sums.index_add_(0, ids.flatten(), rewards.flatten())
    sums.index_add_(0, ids[0], previous_returns.to(rewards))
    return sums[ids], complete


def require_longer_rollout(num_steps: int, horizon_steps: int) -> None:
    """Refuse, with a ValueError, rollouts of so few steps that no state has a known label.

    Example:
        >>> require_longer_rollout(24, 62)
        Traceback (most recent call last):
        ...
        ValueError: the horizon of the labels must be shorter than a rollout of 24 steps (`num_steps`), got 62 steps.
    """
    if num_steps <= horizon_steps:
        raise ValueError(
            f"the horizon of the labels must be shorter than a rollout of {num_steps} steps (`num_steps`), "
            f"got {horizon_steps} steps."
        )


def decided_within(result: FailureLabels, horizon_steps: int) -> FailureLabels:
    """Make the states unknown whose horizon reaches beyond the rollout's end, whatever became of them.

    There a failure is seen but not that there is none, so that failures would be counted too often.
    """
    num_steps = len(result.known)
    require_longer_rollout(num_steps, horizon_steps)
    step = torch.arange(num_steps, device=result.known.device).unsqueeze(1)
    decided = step <= num_steps - horizon_steps
    return FailureLabels(result.labels & decided, result.known & decided)


def _next_end(terminated: Tensor, truncated: Tensor) -> Tensor:
    """Index the first ending step at or after each step; ``T`` where the rollout shows none. Long, ``[T, N]``."""
    num_steps, num_envs = terminated.shape
    require_tensor("bool", (num_steps, num_envs), terminated=terminated, truncated=truncated)
    step = torch.arange(num_steps, device=terminated.device).unsqueeze(1)
    end = torch.where(terminated | truncated, step, num_steps)
    return end.flip(0).cummin(0).values.flip(0)


def _fate(terminated: Tensor, truncated: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of steps seen from each state until the end, and whether that end is a termination."""
    end = _next_end(terminated, truncated)
    num_steps = terminated.shape[0]
    step = torch.arange(num_steps, device=terminated.device).unsqueeze(1)
    steps_seen = torch.clamp(end + 1, max=num_steps) - step
    open_end = torch.zeros_like(terminated[:1])
    return steps_seen, torch.cat([terminated, open_end]).gather(0, end)
