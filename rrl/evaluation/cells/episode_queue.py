"""A queue of episodes: a world that has ended one takes the next, whatever its condition."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.envs import available_cores
from rrl.envs.make import is_native
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.disturbances import Disturbances
from rrl.evaluation.cells.stages import GymnasiumStage, NativeStage, Stage, Step
from rrl.evaluation.episodes import BatchPolicy, Trial

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
BLOCK_ROWS = 64
"""Rows of every call of a policy. Matrix products of other heights round differently in the last bit, which would make
an episode depend on how many others run beside it."""
WORLDS_PER_THREAD = 128
"""Worlds side by side; more save little time, and results come later."""


GYMNASIUM_WORLDS = 16
"""Worlds side by side where Gymnasium steps them one after the other: a policy is asked about all of them at once."""


class Episode(NamedTuple):
    """What happened in one episode; see :class:`~rrl.evaluation.episodes.EpisodeReturns`."""

    condition: int
    """Index of its condition."""
    number: int
    """Index among the episodes of the condition."""
    total: float
    length: int
    failed: bool
    distance: float
    """Metres travelled along x; not a number where the task does not move forward."""
    seconds: float
    """Its share of the wall clock."""


class EpisodeQueue:
    """Episodes of one environment under several conditions; the same for any number of worlds ``N`` and threads.

    Native worlds, of a task or of an adversarial one whose adversary rests, have a native thread per available core
    where ``num_threads`` is None; every other environment is stepped by Gymnasium. A condition that has no effect by
    construction is a ValueError, as is an unknown environment or option.
    """

    def __init__(
        self,
        trial: Trial,
        conditions: Sequence[Condition],
        *,
        num_worlds: int | None = None,
        num_threads: int | None = None,
    ) -> None:
        num_threads, num_episodes = num_threads or available_cores(), trial.num_episodes
        native = is_native(trial.env_id)
        most = WORLDS_PER_THREAD * num_threads if native else GYMNASIUM_WORLDS
        num_worlds = min(num_worlds or most, num_episodes * len(conditions))
        self.stage: Stage = (
            NativeStage(trial, conditions, num_worlds, num_threads)
            if native
            else GymnasiumStage(trial, conditions, num_worlds)
        )
        low, high = self.stage.low, self.stage.high
        self._disturbances = Disturbances(conditions, self.stage.draws, num_worlds, low=low, high=high)
        self._waiting = deque(np.ndindex(len(conditions), num_episodes))
        self._conditions = np.zeros(num_worlds, dtype=np.intp)
        self._returns, self._distances, self._seconds = np.zeros((3, num_worlds))
        self._block = np.zeros((BLOCK_ROWS, self.stage.observations.shape[1]))

    def run(self, policy: BatchPolicy) -> Iterator[Episode]:
        """Run all episodes, condition by condition as far as there are worlds, and yield each when it has ended.

        Actions of another shape, or ones that are not finite, are a ValueError.
        """
        running = np.arange(len(self._returns))
        self._begin(running)
        while len(running):
            began = time.perf_counter()
            step = self._step(policy, running)
            self._returns[running] += step.rewards[running]
            self._distances[running] += self.stage.step_seconds * step.x_velocities[running]
            self._disturbances.steps[running] += 1
            self._seconds[running] += (time.perf_counter() - began) / len(running)
            over = step.terminated | step.truncated | (self._disturbances.steps >= self.stage.time_limit)
            ended = running[over[running]]
            if len(ended):
                yield from [self._record(world, step) for world in ended]
                began = time.perf_counter()
                restarted, idle = np.split(ended, [len(self._waiting)])
                self._begin(restarted)
                self._disturbances.steps[idle] = 0
                running = np.setdiff1d(running, idle)
                self._seconds[running] += (time.perf_counter() - began) / max(len(running), 1)

    def _step(self, policy: BatchPolicy, running: Indices) -> Step:
        seen = self._disturbances.observe(self.stage.observations)
        actions = np.zeros((len(seen), len(self.stage.low)))
        for first in range(0, len(running), BLOCK_ROWS):
            worlds = running[first : first + BLOCK_ROWS]
            actions[worlds] = self._choose(policy, seen[worlds])
        forces = self._disturbances.push()
        return self.stage.advance(self._disturbances.execute(actions), forces, running)

    def _choose(self, policy: BatchPolicy, observations: Array) -> Array:
        """Ask the policy about at most ``BLOCK_ROWS`` observations, in a block that is always of that height."""
        self._block[:] = observations[0]
        self._block[: len(observations)] = observations
        actions = np.asarray(policy(self._block.copy()), dtype=np.float64)
        shape = (BLOCK_ROWS, len(self.stage.low))
        if actions.shape != shape:
            raise ValueError(f"The policy must return actions of shape {list(shape)}, got {list(actions.shape)}.")
        if not np.isfinite(actions).all():
            raise ValueError("The policy must return finite actions, got NaN or infinity.")
        return actions[: len(observations)]

    def _begin(self, worlds: Indices) -> None:
        """Start the next waiting episodes in some worlds."""
        if not len(worlds):
            return
        jobs = np.array([self._waiting.popleft() for _ in worlds], dtype=np.intp)
        conditions, episodes = jobs.T
        self.stage.begin(worlds, conditions, episodes)
        self._disturbances.begin(worlds, conditions, episodes)
        self._conditions[worlds] = conditions
        self._returns[worlds] = self._distances[worlds] = self._seconds[worlds] = 0.0

    def _record(self, world: int, step: Step) -> Episode:
        return Episode(
            condition=int(self._conditions[world]),
            number=int(self._disturbances.episodes[world]),
            total=float(self._returns[world]),
            length=int(self._disturbances.steps[world]),
            failed=bool(step.terminated[world]),
            distance=float(self._distances[world]),
            seconds=float(self._seconds[world]),
        )
