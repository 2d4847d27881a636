"""The labelled states of the last iterations, which the risk model is fitted to."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LabelledStates(nn.Module):
    """The data set D of the risk model: states, their labels and trajectories, oldest first.

    The policies change, and with them what is dangerous: old iterations are forgotten. The contents lie in buffers of
    fixed size, so a resumed run fits the model it would have fitted.

    Args:
        observation_shape: Shape of what the predictor reads: ``(O,)``, or ``(L, O)`` where it reads histories.
        capacity: Number of states to hold, at least 1; the oldest give way.
        max_iterations: Number of calls of `append` to remember, at least 1; None remembers all, as the paper does, as
            far as the capacity goes.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> states = LabelledStates((1,), capacity=3, max_iterations=2)
        >>> for number in (0, 1, 2):
        ...     states.append(torch.tensor([[0.5 * number]]), torch.tensor([True]), torch.tensor([number]))
        >>> states.observations.flatten(), states.trajectory_ids
        (tensor([0.5000, 1.0000]), tensor([1, 2]))
    """

    stored_observations: Tensor
    stored_labels: Tensor
    stored_ids: Tensor
    stored_iterations: Tensor
    num_states: Tensor
    """Number of states held. Long scalar."""
    num_iterations: Tensor
    """Number of calls of `append` so far. Long scalar."""

    def __init__(
        self, observation_shape: tuple[int, ...], *, capacity: int = 100_000, max_iterations: int | None = 5
    ) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(f"`capacity` must be at least 1, got {capacity}.")
        if max_iterations is not None and max_iterations < 1:
            raise ValueError(f"`max_iterations` must be at least 1 or None, got {max_iterations}.")
        self.capacity = capacity
        self.max_iterations = max_iterations
        self.register_buffer("stored_observations", torch.zeros(capacity, *observation_shape))
        self.register_buffer("stored_labels", torch.zeros(capacity, dtype=torch.bool))
        self.register_buffer("stored_ids", torch.zeros(capacity, dtype=torch.long))
        self.register_buffer("stored_iterations", torch.zeros(capacity, dtype=torch.long))
        self.register_buffer("num_states", torch.tensor(0))
        self.register_buffer("num_iterations", torch.tensor(0))

    @property
    def observations(self) -> Tensor:
        """Observations held. Shape ``[M, *observation_shape]``."""
        return self.stored_observations[: self.num_states]

    @property
    def labels(self) -> Tensor:
        """Labels held. Boolean, shape ``[M]``."""
        return self.stored_labels[: self.num_states]

    @property
    def trajectory_ids(self) -> Tensor:
        """Trajectory of each state held. Long, shape ``[M]``."""
        return self.stored_ids[: self.num_states]

    @property
    def newest(self) -> Tensor:
        """True for the states of the last call of `append`. Boolean, shape ``[M]``."""
        return self.stored_iterations[: self.num_states] == self.num_iterations

    @torch.no_grad()
    def append(self, observations: Tensor, labels: Tensor, trajectory_ids: Tensor) -> None:
        """Add the states of one iteration whose labels are known, and forget what is too old.

        Args:
            observations: Observations, possibly none. Shape ``[M, *observation_shape]``.
            labels: True where the state led to a failure. Boolean, shape ``[M]``.
            trajectory_ids: Trajectory of each state, numbered through the run. Long, shape ``[M]``. See
                `rrl.risk.trajectories.TrajectoryNumbering`.

        Raises:
            ValueError: If the shapes do not fit.
        """
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
        kept = self._young_enough()
        merged = [
            torch.cat([old[kept], new.to(old)])[-self.capacity :] for old, new in zip(stored, newest, strict=True)
        ]
        self.num_states.fill_(len(merged[0]))
        for old, values in zip(stored, merged, strict=True):
            old[: len(values)] = values

    def _young_enough(self) -> Tensor:
        """Mark the states held that the newest iteration does not push out by age. Shape ``[capacity]``."""
        held = torch.arange(self.capacity, device=self.stored_ids.device) < self.num_states
        if self.max_iterations is None:
            return held
        return held & (self.stored_iterations > self.num_iterations - self.max_iterations)
