"""The worlds in which the episodes of an evaluation happen: native ones, or Gymnasium's with their model edited."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from gymnasium.spaces import Dict
from numpy.typing import NDArray

from rrl.envs import flat_box
from rrl.envs.adversarial import ADVERSARY, PROTAGONIST
from rrl.envs.bodies import ADVERSARIAL_TASKS
from rrl.envs.gymnasium_worlds import admissible, protagonist_space, require_flat
from rrl.envs.names import registered_id
from rrl.envs.physics import edit_model
from rrl.envs.simulation import ModelFields, Simulations
from rrl.envs.task import make_transition
from rrl.envs.tasks import make_task
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.disturbances import EpisodeDraws
from rrl.evaluation.cells.subjects import require_possible, subject_of_env, subject_of_task
from rrl.evaluation.episodes import Trial
from rrl.random_streams import Purpose, derived_seed

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


class Step(NamedTuple):
    """What a step did to ``N`` worlds, before any of them begins anew; rows of worlds that rested mean nothing."""

    observations: Array
    """Raw observations. Shape ``[N, O]``."""
    rewards: Array
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    """True where the environment itself cuts the episode off. Shape ``[N]``."""
    x_velocities: Array
    """Metres per second along x; not a number where nobody knows. Shape ``[N]``."""


class Stage(Protocol):
    """``N`` worlds, each in an episode of its own, under one of several conditions."""

    low: Array
    high: Array
    """Ends of the action box. Shapes ``[A]``."""
    draws: EpisodeDraws
    time_limit: int
    step_seconds: float
    """Simulated time of a step; not a number where nobody knows."""

    @property
    def observations(self) -> Array:
        """Raw observations of all worlds now, a copy. Shape ``[N, O]``."""
        ...

    def begin(self, worlds: Indices, conditions: Indices, episodes: Indices) -> None:
        """Start episodes in ``K`` worlds: index of the world, of its condition and of its episode, all ``[K]``."""
        ...

    def advance(self, actions: Array, forces: Array | None, running: Indices) -> Step:
        """Advance some worlds under actions ``[N, A]`` and pushes along x, newtons, ``[N]``; the others rest."""
        ...


class NativeStage:
    """Worlds of one task in one batch."""

    def __init__(self, trial: Trial, conditions: Sequence[Condition], num_worlds: int, num_threads: int) -> None:
        env_id = registered_id(trial.env_id)
        adversarial = ADVERSARIAL_TASKS.get(env_id)
        self._task = make_task(adversarial.env_id if adversarial else env_id, trial.env_kwargs)
        masses = adversarial.masses if adversarial else {}
        self.model_path = self._task.model_path
        self._simulations = Simulations(
            self.model_path, num_worlds, num_threads, masses=masses, fields=self._task.fields
        )
        model = self._simulations.model
        subject = subject_of_task(self._task, model, trial)
        for condition in conditions:
            require_possible(condition, subject)
        self._pushed = [] if subject.pushed is None else [subject.pushed]
        self.time_limit = trial.max_episode_steps or self._task.max_episode_steps
        self.step_seconds: float = model.opt.timestep * self._task.frame_skip
        self.low, self.high = model.actuator_ctrlrange.T.copy()
        self._observations = self._task.observe(self._simulations.worlds)
        sizes = {"num_steps": self.time_limit, "obs_dim": self._observations.shape[1], "action_dim": model.nu}
        self.draws = EpisodeDraws(trial.seed, trial.num_episodes, **sizes)
        self._fields = [condition.fields(model, self._task.env_id) for condition in conditions]
        scales = [condition.reset_noise_scale(subject) for condition in conditions]
        nominal = self._simulations.initial_state
        states = {scale: self.draws.initial_states(self._task, nominal, scale) for scale in set(scales)}
        self._initial_states = [states[scale] for scale in scales]

    @property
    def observations(self) -> Array:
        """See :class:`Stage`."""
        return self._observations.copy()

    @property
    def positions(self) -> Array:
        """Generalised positions of the worlds now, a copy. Shape ``[N, nq]``."""
        return self._simulations.worlds.positions.copy()

    def begin(self, worlds: Indices, conditions: Indices, episodes: Indices) -> None:
        """See :class:`Stage`."""
        self._simulations.fields.apply(worlds, [self._fields[condition] for condition in conditions])
        states = [self._initial_states[condition] for condition in conditions]
        drawn = [(state[0][episode], state[1][episode]) for state, episode in zip(states, episodes, strict=True)]
        self._simulations.begin(worlds, *map(np.stack, zip(*drawn, strict=True)))
        self._observations[worlds] = self._task.observe(self._simulations.worlds)[worlds]

    def advance(self, actions: Array, forces: Array | None, running: Indices) -> Step:
        """See :class:`Stage`."""
        if forces is not None:
            self._simulations.exert(self._pushed, forces[:, None, None] * np.array([1.0, 0.0, 0.0]))
        some = running if len(running) < len(actions) else None
        step = make_transition(self._simulations, self._task, actions, self._observations, worlds=some)
        self._observations = step.observations
        velocities = step.x_velocities if self._task.moves else np.full(len(actions), np.nan)
        return Step(step.observations, step.rewards, step.terminated, np.zeros_like(step.terminated), velocities)


class GymnasiumStage:
    """Environments that Gymnasium steps one after the other; of MuJoCo's the model is edited before an episode."""

    def __init__(self, trial: Trial, conditions: Sequence[Condition], num_worlds: int) -> None:
        recipe = trial.recipe
        self._envs = [recipe.make() for _ in range(num_worlds)]
        first = self._envs[0]
        require_flat(first, trial.env_id)
        subject = subject_of_env(first, trial)
        for condition in conditions:
            require_possible(condition, subject)
        box = flat_box(protagonist_space(first))
        self.low, self.high = box.low.astype(np.float64), box.high.astype(np.float64)
        self.time_limit = subject.time_limit
        self.step_seconds = float("nan")
        self._env_id, self._seed, self._pushed = trial.env_id, trial.seed, subject.pushed
        shape = (num_worlds, flat_box(first.observation_space).shape[0])
        self._observations = np.zeros(shape)
        sizes = {"num_steps": self.time_limit, "obs_dim": shape[1], "action_dim": len(self.low)}
        self.draws = EpisodeDraws(trial.seed, trial.num_episodes, **sizes)
        nothing = ModelFields()
        self._fields = [
            nothing if subject.model is None else each.fields(subject.model, trial.env_id) for each in conditions
        ]
        self._scales = [condition.reset_noise_scale(subject) for condition in conditions]
        self._nominal_scale = subject.reset_noise_scale
        self._touched: list[ModelFields] = [nothing] * num_worlds
        self._nominal = None if subject.model is None else copy.copy(subject.model)

    @property
    def observations(self) -> Array:
        """See :class:`Stage`."""
        return self._observations.copy()

    def begin(self, worlds: Indices, conditions: Indices, episodes: Indices) -> None:
        """See :class:`Stage`. An episode has the same seed under every condition."""
        for world, condition, episode in zip(worlds, conditions, episodes, strict=True):
            env = self._envs[world]
            simulator: Any = env.unwrapped
            fields = self._fields[condition]
            if self._nominal is not None and fields is not self._touched[world]:
                edit_model(simulator.model, self._nominal, fields)
                self._touched[world] = fields
            if self._nominal_scale is not None:
                scale = self._scales[condition]
                simulator._reset_noise_scale = self._nominal_scale if scale is None else scale
            seed = derived_seed(Purpose.EPISODE_START, self._seed, int(episode), bits=31)
            self._observations[world] = self._checked(env.reset(seed=seed)[0], 0)

    def advance(self, actions: Array, forces: Array | None, running: Indices) -> Step:
        """See :class:`Stage`."""
        count = len(actions)
        rewards, flags = np.zeros(count), np.zeros((2, count), dtype=np.bool_)
        for world in running:
            env = self._envs[world]
            force = 0.0 if forces is None else float(forces[world])
            observation, reward, terminated, truncated = self._step_one(env, actions[world], force)
            self._observations[world] = self._checked(observation, float(reward))
            rewards[world], flags[:, world] = reward, (terminated, truncated)
        return Step(self._observations.copy(), rewards, flags[0], flags[1], np.full(count, np.nan))

    def _step_one(self, env: gymnasium.Env[Any, Any], action: Array, force: float) -> tuple[Any, Any, bool, bool]:
        space = env.action_space
        given: Any = action
        if isinstance(space, Dict):
            given = {PROTAGONIST: action, ADVERSARY: np.zeros(space[ADVERSARY].shape or ())}
        simulator: Any = env.unwrapped
        if self._pushed is not None:
            simulator.data.xfrc_applied[self._pushed, 0] = force
        observation, reward, terminated, truncated, _ = env.step(admissible(given, space))
        return observation, reward, bool(terminated), bool(truncated)

    def _checked(self, observation: Any, reward: float) -> Array:
        values = np.array(observation, dtype=np.float64)
        if not (np.isfinite(values).all() and np.isfinite(reward)):
            raise ValueError(f"{self._env_id} gave an observation or a reward that is not finite.")
        return values
