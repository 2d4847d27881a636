"""Which states belong to one trajectory: identifiers, the held-out split, and histories for sequence models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOST_HELD_OUT = 0.6
"""Share of the states that the newest rollout's trajectories may take away from the predictor."""


def trajectory_ids(terminated: Tensor, truncated: Tensor) -> Tensor:
    """Number the trajectories of a rollout.

    Within one rollout only, see `TrajectoryNumbering`. States of one trajectory share their fate, so they are not
    independent samples: every split and every confidence interval of the risk model goes by these numbers and never by
    single states.

    Args:
        terminated: True where the episode ended for good. Boolean, shape ``[T, N]``.
        truncated: True where the episode was cut off. Boolean, shape ``[T, N]``.

    Returns:
        Integers that are equal exactly within one trajectory of one world. Long, shape ``[T, N]``; smaller than
        ``(T + 1) * N``, with gaps.

    Example:
        >>> terminated = torch.tensor([[False], [True], [False]])
        >>> trajectory_ids(terminated, torch.zeros(3, 1, dtype=torch.bool)).flatten()
        tensor([0, 0, 1])
    """
    ended = terminated | truncated
    num_steps, num_envs = ended.shape
    # The step that ends an episode still belongs to it.
    ends_before = ended.long().cumsum(0) - ended.long()
    return ends_before + (num_steps + 1) * torch.arange(num_envs, device=ended.device)


class TrajectoryNumbering(nn.Module):
    """Numbers the trajectories of a run: an episode that a rollout's end interrupts keeps its number in the next one.

    Without it, the two parts of such an episode could fall on different sides of a held-out split. The numbers are
    those of one process; when states of several are gathered, ``number * world_size + rank`` keeps them apart.

    Args:
        num_envs: Number of worlds ``N``.

    Example:
        >>> numbering, none = TrajectoryNumbering(num_envs=1), torch.zeros(2, 1, dtype=torch.bool)
        >>> first, second = numbering(none, none), numbering(none, none)
        >>> torch.equal(first, second)
        True
    """

    running: Tensor
    """Number of the running episode of each world. Long, shape ``[N]``."""
    next_number: Tensor
    """Smallest number that has not been used. Long scalar."""

    def __init__(self, num_envs: int) -> None:
        super().__init__()
        self.register_buffer("running", torch.arange(num_envs))
        self.register_buffer("next_number", torch.tensor(num_envs))

    @torch.no_grad()
    def forward(self, terminated: Tensor, truncated: Tensor) -> Tensor:
        """Number the states of the rollout that follows the last one.

        Args:
            terminated: True where the episode ended for good. Boolean, shape ``[T, N]``.
            truncated: True where the episode was cut off. Boolean, shape ``[T, N]``.

        Returns:
            Trajectory numbers, unique over the run. Long, shape ``[T, N]``.

        Raises:
            ValueError: If the number of worlds is another one.
        """
        if terminated.shape[1:] != self.running.shape:
            raise ValueError(f"`terminated` must have shape [T, {len(self.running)}], got {list(terminated.shape)}.")
        # One more row tells the number with which the next rollout begins.
        after = torch.zeros_like(terminated[:1])
        within = trajectory_ids(torch.cat([terminated, after]), torch.cat([truncated, after]))
        numbers = torch.where(within == within[0], self.running, self.next_number + within)
        self.next_number += within.numel() + within.shape[1]
        self.running.copy_(numbers[-1])
        return numbers[:-1]


def hold_out_trajectories(ids: Tensor, fraction: float, *, generator: torch.Generator) -> Tensor:
    """Choose whole trajectories at random that are kept for calibration.

    Args:
        ids: Trajectory (or world) of each sample. Long, shape ``[M]``.
        fraction: Share of the *trajectories* to hold out, in ``[0, 1)``. Rounded to whole trajectories, at least one
            and at most all but one; ``0.0`` holds out none.
        generator: Source of the random choice, on the CPU.

    Returns:
        True where the sample is held out. Boolean, shape ``[M]``. All False where there is only one trajectory.

    Raises:
        ValueError: If ``fraction`` is outside ``[0, 1)``.

    Example:
        >>> hold_out_trajectories(torch.tensor([3, 3, 8, 8]), 0.5, generator=torch.Generator()).sum()
        tensor(2)
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"`fraction` must lie in [0, 1), got {fraction}.")
    unique, position = torch.unique(ids, return_inverse=True)
    if fraction == 0.0 or unique.numel() < 2:
        return torch.zeros_like(ids, dtype=torch.bool)
    num_held_out = min(max(round(fraction * unique.numel()), 1), unique.numel() - 1)
    chosen = torch.randperm(unique.numel(), generator=generator)[:num_held_out].to(ids.device)
    held_out = torch.zeros(unique.numel(), dtype=torch.bool, device=ids.device)
    held_out[chosen] = True
    return held_out[position]


def hold_out_newest(ids: Tensor, newest: Tensor, *, generator: torch.Generator) -> Tensor:
    """Keep the trajectories of the newest rollout for calibration.

    The policy changes, and how often it fails with it: a map fitted to the newest rollout corrects for that, one fitted
    to a random choice of old and new states does not. Where episodes are so long that most of them reach into the
    newest rollout, a random half of them is left to the predictor.

    Args:
        ids: Trajectory of each sample. Long, shape ``[M]``.
        newest: True for samples of the newest rollout. Boolean, shape ``[M]``.
        generator: Source of the random choice, on the CPU.

    Returns:
        True where the sample is held out: whole trajectories. Boolean, shape ``[M]``. All False where there is only one
        trajectory.

    Example:
        >>> ids, newest = torch.tensor([3, 4, 5, 5, 6]), torch.tensor([False, False, False, True, True])
        >>> hold_out_newest(ids, newest, generator=torch.Generator())
        tensor([False, False,  True,  True,  True])
    """
    reaching = torch.isin(ids, ids[newest])
    if reaching.sum() <= MOST_HELD_OUT * ids.numel():
        return reaching
    chosen = hold_out_trajectories(ids[reaching], 0.5, generator=generator)
    held_out = torch.zeros_like(reaching)
    held_out[reaching] = chosen
    return held_out


def push_history(history: Tensor, observations: Tensor, starts: Tensor) -> Tensor:
    """Append the newest observations to the histories that a sequence model reads.

    Args:
        history: Last observations of each world, oldest first. Shape ``[N, L, O]``.
        observations: Newest observations. Shape ``[N, O]``.
        starts: True where an episode begins with this observation; its history is filled with it. Boolean, ``[N]``.

    Returns:
        New histories of the same length. Shape ``[N, L, O]``.

    Example:
        >>> push_history(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[3.0]]), torch.tensor([False])).flatten()
        tensor([2., 3.])
    """
    pushed = torch.cat([history[:, 1:], observations.unsqueeze(1)], dim=1)
    return torch.where(starts[:, None, None], observations.unsqueeze(1).expand_as(pushed), pushed)


def stack_history(observations: Tensor, ended: Tensor, length: int) -> Tensor:
    """Collect for each state of a rollout the last observations of its own episode.

    What the rollout's first states were preceded by is not known here: their history is filled like that of an
    episode's first state.

    Args:
        observations: Observations of the rollout. Shape ``[T, N, O]``.
        ended: True where the step ended an episode for either reason. Boolean, shape ``[T, N]``.
        length: Number of observations ``L`` in a history, at least 1; the last one is the state's own.

    Returns:
        Histories, oldest observation first. Shape ``[T, N, L, O]``.

    Raises:
        ValueError: If ``length`` is smaller than 1.

    Example:
        >>> stack_history(torch.tensor([[[1.0]], [[2.0]]]), torch.zeros(2, 1, dtype=torch.bool), 2).squeeze()
        tensor([[1., 1.],
                [1., 2.]])
    """
    if length < 1:
        raise ValueError(f"`length` must be at least 1, got {length}.")
    history = observations.new_zeros(observations.shape[1], length, observations.shape[2])
    starts = torch.cat([torch.ones_like(ended[:1]), ended[:-1]])
    histories = []
    for newest, start in zip(observations, starts, strict=True):
        history = push_history(history, newest, start)
        histories.append(history)
    return torch.stack(histories)
