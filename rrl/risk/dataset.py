"""The data of the risk model: labelled states of the last iterations, and which of them belong to one trajectory.

States of one trajectory share their fate, so they are not independent samples: every split and every confidence
interval of the risk model goes by trajectories and never by single states.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least, require_within

MOST_HELD_OUT = 0.6
"""Share of the states that the newest rollout's trajectories may take away from the predictor."""


class LabelledStates(nn.Module):
    """The data set D of the risk model: states, their labels and trajectories, oldest first.

    The policies change, and with them what is dangerous: old iterations are forgotten. The contents lie in buffers of
    fixed size, so a resumed run fits the model it would have fitted. The paper remembers all iterations, where
    ``max_iterations`` is None; beyond the capacity the oldest states give way in any case.

    Observations have shape ``[M, O]``, or ``[M, L, O]`` where the predictor reads histories; labels are boolean and
    trajectory numbers, which are unique in the run, long, both of shape ``[M]``.
    """

    stored_observations: Tensor
    stored_labels: Tensor
    stored_ids: Tensor
    stored_iterations: Tensor
    num_states: Tensor
    num_iterations: Tensor
    """Number of calls of `append` so far. Long scalar."""

    def __init__(self, observation_shape: tuple[int, ...], *, capacity: int, max_iterations: int | None) -> None:
        super().__init__()
        self.capacity, self.max_iterations = capacity, max_iterations
        self.register_buffer("stored_observations", torch.zeros(capacity, *observation_shape))
        self.register_buffer("stored_labels", torch.zeros(capacity, dtype=torch.bool))
        self.register_buffer("stored_ids", torch.zeros(capacity, dtype=torch.long))
        self.register_buffer("stored_iterations", torch.zeros(capacity, dtype=torch.long))
        self.register_buffer("num_states", torch.tensor(0))
        self.register_buffer("num_iterations", torch.tensor(0))

    @property
    def observations(self) -> Tensor:
        """Observations held."""
        return self.stored_observations[: self.num_states]

    @property
    def labels(self) -> Tensor:
        """Labels held."""
        return self.stored_labels[: self.num_states]

    @property
    def trajectory_ids(self) -> Tensor:
        """Trajectory of each state held."""
        return self.stored_ids[: self.num_states]

    @property
    def newest(self) -> Tensor:
        """True for the states of the last call of `append`. Boolean, shape ``[M]``."""
        return self.stored_iterations[: self.num_states] == self.num_iterations

    @torch.no_grad()
    def append(self, observations: Tensor, labels: Tensor, trajectory_ids: Tensor) -> None:
        """Add the states of one iteration whose labels are known, possibly none, and forget what is too old."""
        if observations.shape[1:] != self.stored_observations.shape[1:]:
            expected = list(self.stored_observations.shape[1:])
            raise ValueError(f"`observations` must have shape [M] + {expected}, got {list(observations.shape)}.")
        if not labels.shape == trajectory_ids.shape == observations.shape[:1]:
            shapes = f"{list(labels.shape)} and {list(trajectory_ids.shape)}"
            raise ValueError(f"`labels` and `trajectory_ids` must have shape [{len(observations)}], got {shapes}.")
        self.num_iterations += 1
        iterations = self.num_iterations.expand(len(labels))
        stored = (self.stored_observations, self.stored_labels, self.stored_ids, self.stored_iterations)
        newest = (observations, labels, trajectory_ids, iterations)
        kept = torch.arange(self.capacity, device=self.stored_ids.device) < self.num_states
        if self.max_iterations is not None:
            kept &= self.stored_iterations > self.num_iterations - self.max_iterations
        for old, new in zip(stored, newest, strict=True):
            values = torch.cat([old[kept], new.to(old)])[-self.capacity :]
            old[: len(values)] = values
        self.num_states.fill_(len(values))


def trajectory_ids(terminated: Tensor, truncated: Tensor) -> Tensor:
    """Number the trajectories of one rollout, whose ends are boolean of shape ``[T, N]``; long, the same shape.

    Numbers are equal exactly within one trajectory of one world, and smaller than ``(T + 1) * N``, with gaps.

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


def hold_out_trajectories(ids: Tensor, fraction: float, *, generator: torch.Generator) -> Tensor:
    """Choose whole trajectories at random that are kept for calibration, and mark their samples.

    A fraction in ``[0, 1)`` of the *trajectories* is held out; at least one and not all, unless it is 0.

    Example:
        >>> hold_out_trajectories(torch.tensor([3, 3, 8, 8]), 0.5, generator=torch.Generator()).sum()
        tensor(2)
    """
    require_within("[0, 1)", fraction=fraction)
    unique, position = torch.unique(ids, return_inverse=True)
    if fraction == 0.0 or unique.numel() < 2:
        return torch.zeros_like(ids, dtype=torch.bool)
    num_held_out = min(max(round(fraction * unique.numel()), 1), unique.numel() - 1)
    chosen = torch.randperm(unique.numel(), generator=generator)[:num_held_out].to(ids.device)
    return torch.isin(position, chosen)


def hold_out_newest(ids: Tensor, newest: Tensor, *, generator: torch.Generator) -> Tensor:
    """Keep the trajectories of the newest rollout for calibration, see `hold_out_trajectories`.

    The policy changes, and how often it fails with it: a map fitted to the newest rollout corrects for that, one fitted
    to a random choice of old and new states does not. Where episodes are so long that most of them reach into the
    newest rollout, a random half of them is left to the predictor.

    Example:
        >>> ids, newest = torch.tensor([3, 4, 5, 5, 6]), torch.tensor([False, False, False, True, True])
        >>> hold_out_newest(ids, newest, generator=torch.Generator())
        tensor([False, False,  True,  True,  True])
    """
    reaching = torch.isin(ids, ids[newest])
    if reaching.sum() <= MOST_HELD_OUT * ids.numel():
        return reaching
    reaching[reaching.clone()] = hold_out_trajectories(ids[reaching], 0.5, generator=generator)
    return reaching


def push_history(history: Tensor, observations: Tensor, starts: Tensor) -> Tensor:
    """Append the newest observations ``[N, O]`` to the histories ``[N, L, O]`` that a sequence model reads.

    Where an episode ``starts`` with this observation, boolean ``[N]``, its history is filled with it.

    Example:
        >>> push_history(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[3.0]]), torch.tensor([False])).flatten()
        tensor([2., 3.])
    """
    pushed = torch.cat([history[:, 1:], observations.unsqueeze(1)], dim=1)
    return torch.where(starts[:, None, None], observations.unsqueeze(1).expand_as(pushed), pushed)


def stack_history(observations: Tensor, ended: Tensor, length: int) -> Tensor:
    """Collect for each state the last ``L`` observations of its own episode, oldest first: ``[T, N, L, O]``.

    What the rollout's first states were preceded by is not known here: their history is filled like that of an
    episode's first state.

    Example:
        >>> stack_history(torch.tensor([[[1.0]], [[2.0]]]), torch.zeros(2, 1, dtype=torch.bool), 2).squeeze()
        tensor([[1., 1.],
                [1., 2.]])
    """
    require_at_least(1, length=length)
    history = observations.new_zeros(observations.shape[1], length, observations.shape[2])
    starts = torch.cat([torch.ones_like(ended[:1]), ended[:-1]])
    histories = []
    for newest, start in zip(observations, starts, strict=True):
        history = push_history(history, newest, start)
        histories.append(history)
    return torch.stack(histories)
