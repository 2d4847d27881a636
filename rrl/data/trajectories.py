"""Stream what a Dyna loop needs: a fresh rollout, windows of all experience, and states to imagine from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from rrl.checks import require_at_least
from rrl.data.rollouts import RolloutDataModule
from rrl.envs.gymnasium_worlds import seeded_worlds
from rrl.random_streams import Purpose, torch_stream
from rrl.rollout import TrajectoryBuffer
from rrl.types import DynaBatch


class TrajectoryDataModule(RolloutDataModule):
    """Own the training worlds and the buffer of what happened in them.

    Every training step receives one rollout of the current policy, which is added to the buffer, windows for all model
    updates of the iteration, and start states for the imagination.

    Args:
        env_id: Gymnasium id.
        horizon: Rows of a trajectory window, ``H``; ``10`` in the paper.
        model_updates: Gradient steps of the trajectory models an iteration.
        model_batch_size: Windows of each of them; ``256`` in the paper.
        imagined_trajectories: Trajectories to imagine for a policy update; ``512`` in the paper.
        policy_updates: Policy updates an iteration, each on its own imagined trajectories; one every 4 real steps in
            the published code.
        buffer_size: Real transitions to keep over the worlds of a rank.
        start_candidates: Further start states to choose from, as a multiple of the imagined trajectories.
        recent_starts: Imagination begins at states among this many newest transitions of a rank.
        num_steps: Steps of each world a rollout, ``T``, at least the horizon.
        worlds: Further settings of :class:`RolloutDataModule`.
    """

    def __init__(
        self,
        env_id: str,
        *,
        horizon: int = 8,
        model_updates: int = 50,
        model_batch_size: int = 256,
        imagined_trajectories: int = 512,
        policy_updates: int = 1,
        buffer_size: int = 200_000,
        start_candidates: int = 0,
        recent_starts: int = 20_000,
        num_steps: int = 64,
        **worlds: Any,
    ) -> None:
        require_at_least(1, model_updates=model_updates, model_batch_size=model_batch_size, recent_starts=recent_starts)
        require_at_least(1, imagined_trajectories=imagined_trajectories, policy_updates=policy_updates)
        require_at_least(0, start_candidates=start_candidates)
        if num_steps < horizon:
            raise ValueError(f"`num_steps` must be at least the horizon {horizon}, got {num_steps}.")
        self.horizon, self.model_updates, self.model_batch_size = horizon, model_updates, model_batch_size
        self.imagined_trajectories, self.policy_updates = imagined_trajectories, policy_updates
        self.recent_starts, self.buffer_size, self.start_candidates = recent_starts, buffer_size, start_candidates
        self.buffer: TrajectoryBuffer | None = None
        super().__init__(env_id, num_steps=num_steps, **worlds)
        self.spaces.horizon, self.spaces.start_candidates = horizon, start_candidates
        self._make_buffer(self.num_envs, rank=0)  # so that a bad size fails before anything runs

    def setup(self, stage: str) -> None:
        """Build this rank's worlds and an empty buffer."""
        super().setup(stage)
        if self.collector is not None and self.buffer is None:
            self.buffer = self._make_buffer(self.collector.envs.num_envs, rank=self._ranks()[1])

    def make_batch(self) -> DynaBatch:
        """Collect a rollout, add it to the buffer, and draw windows and start states."""
        rollout = self.collect()
        if self.buffer is None:
            raise RuntimeError("the buffer is built by `setup('fit')`.")
        self.buffer.add(rollout)
        fresh_windows = self.buffer.sample_windows(self.model_batch_size, newest_steps=self.num_steps)
        sizes = (self.model_updates, self.model_batch_size)
        windows = self.buffer.sample_windows(math.prod(sizes)).map(lambda column: column.unflatten(0, sizes))
        starts = self._sample_starts(self.buffer, self.imagined_trajectories)
        more = self.start_candidates * self.imagined_trajectories
        candidates = self._sample_starts(self.buffer, more) if more > 0 else None
        return DynaBatch(rollout, windows, fresh_windows, starts, candidates)

    def _sample_starts(self, buffer: TrajectoryBuffer, count: int) -> torch.Tensor:
        """Draw so many recent observations for each policy update. Shape ``[U, count, O]``."""
        shape = (self.policy_updates, count)
        drawn = buffer.sample_starts(math.prod(shape), recent=self.recent_starts).observations
        return drawn.view(*shape, -1)

    def rank_state(self) -> dict[str, Any]:
        """Return this rank's worlds and buffer."""
        state = super().rank_state()
        return state if self.buffer is None else {**state, "buffer": self.buffer.state_dict()}

    def load_rank_state(self, state: Mapping[str, Any]) -> None:
        """Restore this rank's worlds and buffer."""
        super().load_rank_state(state)
        if self.buffer is not None and "buffer" in state:
            self.buffer.load_state_dict(state["buffer"])
            if self.collector is not None and seeded_worlds(self.collector.envs):
                self.buffer.cut()  # what comes next are other episodes

    def teardown(self, stage: str) -> None:
        """Close the worlds and drop the buffer."""
        super().teardown(stage)
        self.buffer = None

    def _make_buffer(self, num_envs: int, *, rank: int) -> TrajectoryBuffer:
        return TrajectoryBuffer(
            self.buffer_size,
            num_envs,
            self.horizon,
            action_low=torch.tensor(self.spaces.action_low),
            action_high=torch.tensor(self.spaces.action_high),
            generator=torch_stream(Purpose.BUFFER, self.seed, rank),
        )
