"""A queue of episodes, run in native worlds: a world that has ended one takes the next, whatever its condition."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.envs import available_cores
from rrl.envs.bodies import ADVERSARIAL_TASKS, TASK_BODIES
from rrl.envs.simulation import Simulations
from rrl.envs.task import Transition, make_transition
from rrl.envs.tasks import make_task
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.disturbances import Disturbances, EpisodeDraws
from rrl.evaluation.episodes import BatchPolicy, Trial

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
BLOCK_ROWS = 64
"""Rows of every call of a policy. Matrix products of other heights round differently in the last bit, which would make
an episode depend on how many others run beside it."""
WORLDS_PER_THREAD = 128
"""Worlds side by side; more save little time, and results come later."""


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
    """Episodes of one task under several conditions; the same for any number of worlds ``N`` and threads.

    The task has a row in ``TASKS``, or is an adversarial one that builds on it; its adversary rests. There is a native
    thread per available core where ``num_threads`` is None. A condition that has no effect on the task by construction
    is a ValueError, as is an unknown task or option.
    """

    def __init__(
        self,
        trial: Trial,
        conditions: Sequence[Condition],
        *,
        max_episode_steps: int | None = None,
        num_worlds: int | None = None,
        num_threads: int | None = None,
    ) -> None:
        adversarial, num_episodes = ADVERSARIAL_TASKS.get(trial.env_id), trial.num_episodes
        self._task = make_task(adversarial.env_id if adversarial else trial.env_id, trial.env_kwargs)
        num_threads = num_threads or available_cores()
        num_worlds = min(num_worlds or WORLDS_PER_THREAD * num_threads, num_episodes * len(conditions))
        masses = adversarial.masses if adversarial else {}
        self._simulations = Simulations(self._task.model_path, num_worlds, num_threads, masses=masses)
        self._pushed = [self._simulations.body_id(TASK_BODIES[self._task.env_id].pushed)]
        self._time_limit = max_episode_steps or self._task.max_episode_steps
        model = self._simulations.model
        self._dt: float = model.opt.timestep * self._task.frame_skip
        low, high = model.actuator_ctrlrange.T.copy()
        self._observations = self._task.observe(self._simulations.worlds)
        sizes = {"num_steps": self._time_limit, "obs_dim": self._observations.shape[1], "action_dim": model.nu}
        draws = EpisodeDraws(trial.seed, num_episodes, **sizes)
        self._disturbances = Disturbances(conditions, draws, num_worlds, low=low, high=high)
        self._fields = [condition.fields(model, self._task.env_id) for condition in conditions]
        scales = [condition.reset_noise_scale(self._task) for condition in conditions]
        nominal = self._simulations.initial_state
        states = {scale: draws.initial_states(self._task, nominal, scale) for scale in set(scales)}
        self._initial_states = [states[scale] for scale in scales]
        self._waiting = deque(np.ndindex(len(conditions), num_episodes))
        self._conditions = np.zeros(num_worlds, dtype=np.intp)
        self._returns, self._distances, self._seconds = np.zeros((3, num_worlds))
        self._block = np.zeros((BLOCK_ROWS, self._observations.shape[1]))

    @property
    def positions(self) -> Array:
        """Generalised positions of the worlds now, a copy. Shape ``[N, nq]``."""
        return self._simulations.worlds.positions.copy()

    @property
    def step_seconds(self) -> float:
        """Simulated time of one environment step."""
        return self._dt

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
            self._distances[running] += self._dt * step.x_velocities[running]
            self._disturbances.steps[running] += 1
            self._seconds[running] += (time.perf_counter() - began) / len(running)
            over = step.terminated | (self._disturbances.steps >= self._time_limit)
            ended = running[over[running]]
            if len(ended):
                yield from [self._record(world, step) for world in ended]
                began = time.perf_counter()
                restarted, idle = np.split(ended, [len(self._waiting)])
                self._begin(restarted)
                self._disturbances.steps[idle] = 0
                running = np.setdiff1d(running, idle)
                self._seconds[running] += (time.perf_counter() - began) / max(len(running), 1)

    def _step(self, policy: BatchPolicy, running: Indices) -> Transition:
        seen = self._disturbances.observe(self._observations)
        actions = np.zeros((len(seen), self._simulations.model.nu))
        for first in range(0, len(running), BLOCK_ROWS):
            worlds = running[first : first + BLOCK_ROWS]
            actions[worlds] = self._choose(policy, seen[worlds])
        forces = self._disturbances.push()
        if forces is not None:
            self._simulations.exert(self._pushed, forces[:, None, None] * np.array([1.0, 0.0, 0.0]))
        executed = self._disturbances.execute(actions)
        some = running if len(running) < len(seen) else None
        step = make_transition(self._simulations, self._task, executed, self._observations, worlds=some)
        self._observations = step.observations
        return step

    def _choose(self, policy: BatchPolicy, observations: Array) -> Array:
        """Ask the policy about at most ``BLOCK_ROWS`` observations, in a block that is always of that height."""
        self._block[:] = observations[0]
        self._block[: len(observations)] = observations
        actions = np.asarray(policy(self._block.copy()), dtype=np.float64)
        shape = (BLOCK_ROWS, self._simulations.model.nu)
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
        self._simulations.fields.apply(worlds, [self._fields[condition] for condition in conditions])
        states = [self._initial_states[condition] for condition in conditions]
        drawn = [(state[0][episode], state[1][episode]) for state, episode in zip(states, episodes, strict=True)]
        self._simulations.begin(worlds, *map(np.stack, zip(*drawn, strict=True)))
        self._disturbances.begin(worlds, conditions, episodes)
        self._observations[worlds] = self._task.observe(self._simulations.worlds)[worlds]
        self._conditions[worlds] = conditions
        self._returns[worlds] = self._distances[worlds] = self._seconds[worlds] = 0.0

    def _record(self, world: int, step: Transition) -> Episode:
        return Episode(
            condition=int(self._conditions[world]),
            number=int(self._disturbances.episodes[world]),
            total=float(self._returns[world]),
            length=int(self._disturbances.steps[world]),
            failed=bool(step.terminated[world]),
            distance=float(self._distances[world]) if self._task.moves else float("nan"),
            seconds=float(self._seconds[world]),
        )
