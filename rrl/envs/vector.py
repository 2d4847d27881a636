"""Many worlds of one MuJoCo task, stepped natively, with external forces and physics as inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rrl.envs.bodies import ADVERSARIAL_TASKS, TASK_BODIES, AdversarialTask
from rrl.envs.forces import ForceUnit, axis_indices, limit_in_newtons, world_forces
from rrl.envs.physics import PhysicsFactors, Ranges, validate_ranges
from rrl.envs.pushes import Pushes, PushProcess
from rrl.envs.simulation import Simulations
from rrl.envs.tasks import make_task
from rrl.envs.transition import make_transition
from rrl.random_streams import Purpose, numpy_stream

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


class MuJoCoVectorEnv(VectorEnv[Array, NDArray[Any], Any]):
    """``N`` worlds of one task of Gymnasium's v5, in one ``mujoco.batch.Batch``.

    A world resets in the step in which its episode ends. Such a step's infos hold ``final_obs``, the observations of
    all worlds before any reset ``[N, O]``, and ``_final_obs``, True where an episode ended ``[N]``. Tasks that move
    report ``x_velocity`` ``[N]``, metres per second, also for the last step of an episode. Where a simulation became
    unstable the episode counts as terminated with reward 0 and the observation before the step as its last one;
    infos then hold ``unstable`` ``[N]``.

    World ``i`` draws from streams of ``seed`` and ``first_world + i`` only: how worlds are spread over objects,
    processes and threads changes nothing.

    Args:
        env_id: A task that has a row in ``TASKS``, or an adversarial one of ``ADVERSARIAL_TASKS`` that builds on it.
        num_envs: Number of worlds, ``N``.
        seed: Seed of all worlds.
        first_world: Number of worlds of the same seed that other objects hold before these.
        num_threads: Native threads; ``None`` takes one per available core, at most one per world.
        max_episode_steps: Time limit of an episode, environment steps; ``None`` takes Gymnasium's.
        env_kwargs: Numeric options of the Gymnasium environment.
        pushes: Random forces on the task's pushed body, in addition to the ``forces`` given to :meth:`step`.
        physics: Ranges of physical factors that are drawn for each episode, by name of ``PhysicsFactors``' field.
        force_bodies: Names of the ``K`` bodies on which :meth:`step` can exert forces; ``None`` takes those of the
            adversary, or else the pushed body.
        force_limit: Largest force of the adversary along an axis; ``None`` takes the task's. Adversarial tasks only.
        force_limit_unit: ``newtons``, or ``body_weight``: multiples of the weight of the whole model.

    Raises:
        ValueError: If a name is unknown or a value inadmissible.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012  (Gymnasium's declaration)

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        *,
        seed: int = 0,
        first_world: int = 0,
        num_threads: int | None = None,
        max_episode_steps: int | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        pushes: Pushes | None = None,
        physics: Ranges | None = None,
        force_bodies: Sequence[str] | None = None,
        force_limit: float | None = None,
        force_limit_unit: ForceUnit = "newtons",
    ) -> None:
        adversarial = ADVERSARIAL_TASKS.get(env_id)
        counts = {"num_envs": num_envs, "num_threads": num_threads, "max_episode_steps": max_episode_steps}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ValueError(f"`{name}` must be at least 1, got {count}.")
        self.task = make_task(adversarial.env_id if adversarial else env_id, env_kwargs)
        self.spec = gymnasium.spec(env_id)
        self.num_envs = num_envs
        num_threads = num_threads or min(len(os.sched_getaffinity(0)), num_envs)
        masses = adversarial.masses if adversarial else {}
        self._simulations = Simulations(self.task.model_path, num_envs, num_threads, masses=masses)
        self.dt: float = self._simulations.model.opt.timestep * self.task.frame_skip
        """Simulated time of one environment step, seconds."""
        self.num_unstable = 0
        """Episodes that an unstable simulation has ended so far."""
        self._set_spaces()

        pushed = TASK_BODIES[self.task.env_id].pushed
        self._pushed_id = self._simulations.body_id(pushed)
        if force_bodies is None:
            force_bodies = adversarial.bodies if adversarial else [pushed]
        self._force_ids = [self._simulations.body_id(name) for name in force_bodies]
        if len(set(self._force_ids)) < len(self._force_ids):
            raise ValueError(f"`force_bodies` must name each body once, got {force_bodies}.")
        self._set_adversary(adversarial, tuple(force_bodies), force_limit, force_limit_unit)
        self._pushes = pushes
        self._ranges: Ranges = dict(physics or {})
        validate_ranges(self._ranges)
        self._require_effective(set(self._ranges))
        self._time_limit = max_episode_steps or self.task.max_episode_steps
        self._first_world = first_world
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._observations: Array | None = None
        self._reseed(seed)

    @property
    def observations(self) -> Array:
        """The observations returned last. Shape ``[N, O]``."""
        return self._require_started().copy()

    @property
    def physics(self) -> PhysicsFactors:
        """The factors in force now. Shapes ``[N]``."""
        return self._simulations.physics.factors

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start a new episode in every world.

        Args:
            seed: Seeds the streams anew; ``None`` lets them go on.
            options: Gymnasium's, none of which are known here.

        Returns:
            Raw observations ``[N, O]`` and no infos.

        Raises:
            ValueError: If there are options.
        """
        if options:
            raise ValueError(f"`options` must be empty, got {options}.")
        if seed is not None:
            self._reseed(seed)
        self._restart(np.arange(self.num_envs))
        self._observations = self.task.observe(self._simulations.worlds)
        return self._observations.copy(), {}

    def step(
        self, actions: NDArray[Any], forces: Array | None = None
    ) -> tuple[Array, Array, Flags, Flags, dict[str, Any]]:
        """Advance every world by one environment step, and reset those whose episode ends.

        An argument of the wrong shape, or one that is not finite, raises ValueError.

        Args:
            actions: Actuator controls; MuJoCo clips them to the action box, control costs see them as given.
                Shape ``[N, A]``.
            forces: World-frame forces at the centres of mass of the ``force_bodies``, newtons, for this step only;
                ``None`` is zero. Shape ``[N, K, 3]``.

        Returns:
            Raw observations ``[N, O]``, rewards ``[N]``, terminated ``[N]``, truncated ``[N]``, infos.
        """
        before = self._require_started()
        actions = _checked("actions", actions, (self.num_envs, self._simulations.model.nu))
        self._exert(forces)
        step = make_transition(self._simulations, self.task, actions, before)
        self._steps += 1
        observations = step.observations
        infos: dict[str, Any] = {}
        if step.unstable.any():
            infos["unstable"] = step.unstable
            self.num_unstable += int(step.unstable.sum())
        if self.task.moves:
            infos["x_velocity"] = step.x_velocities
        truncated = self._steps >= self._time_limit
        ended = step.terminated | truncated
        if ended.any():
            infos |= {"final_obs": observations.copy(), "_final_obs": ended}
            self._restart(np.flatnonzero(ended))
            observations[ended] = self.task.observe(self._simulations.worlds)[ended]
        self._observations = observations
        return observations.copy(), step.rewards, step.terminated, truncated, infos

    def adversary_forces(self, adversary_actions: NDArray[Any]) -> Array:
        """Scale an adversary's actions to the forces that :meth:`step` takes.

        Actions of the wrong shape, or ones that are not finite, raise ValueError.

        Args:
            adversary_actions: Clipped to -1 to 1, which is the force limit. Shape ``[N, F]``.

        Returns:
            World-frame forces, newtons. Shape ``[N, K, 3]``.
        """
        actions = _checked("adversary_actions", adversary_actions, (self.num_envs, self.adversary_dim))
        components = self.force_limit * np.clip(actions.astype(np.float64), -1.0, 1.0)
        return world_forces(components, len(self._force_ids), self._adversary_axes)

    def set_physics(self, factors: PhysicsFactors) -> None:
        """Fix the physics of each world from now on, in place of any ranges.

        Args:
            factors: One per world.

        Raises:
            ValueError: If there are not ``N`` factors, or one changes what has no effect on this task.
        """
        if len(factors.mass) != self.num_envs:
            raise ValueError(f"`factors` must hold {self.num_envs} worlds, got {len(factors.mass)}.")
        self._require_effective({name for name, values in factors.as_dict().items() if (values != 1.0).any()})
        self._ranges = {}
        self._simulations.physics.apply(factors, np.arange(self.num_envs))

    def simulator_states(self) -> Array:
        """Read the generalised positions and velocities.

        Returns:
            A copy, positions first. Shape ``[N, S]``.
        """
        return np.concatenate([self._simulations.worlds.positions, self._simulations.worlds.velocities], axis=1)

    def set_simulator_states(self, states: Array) -> Array:
        """Start an episode in every world from a given state, with the physics it has and new pushes.

        States of the wrong shape, or ones that are not finite, raise ValueError.

        Args:
            states: Generalised positions and velocities. Shape ``[N, S]``.

        Returns:
            Raw observations. Shape ``[N, O]``.
        """
        model = self._simulations.model
        states = _checked("states", states, (self.num_envs, model.nq + model.nv))
        self._begin(np.arange(self.num_envs), states[:, : model.nq], states[:, model.nq :])
        self._observations = self.task.observe(self._simulations.worlds)
        return self._observations.copy()

    def state_dict(self) -> dict[str, Any]:
        """Save everything on which later steps depend.

        Returns:
            Plain types and NumPy arrays.
        """
        return {
            "simulations": self._simulations.state.copy(),
            "observations": self._require_started().copy(),
            "steps": self._steps.copy(),
            "physics": self.physics.as_table(),
            "physics_varies": bool(self._ranges),
            "streams": [generator.bit_generator.state for generator in self._generators],
            "pushes": self._push_process.state_dict() if self._push_process else None,
            "num_unstable": self.num_unstable,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where :meth:`state_dict` was called, on an object made with the same arguments.

        Args:
            state: What it returned.

        Raises:
            ValueError: If it is of another task or number of worlds.
        """
        simulations, shape = np.asarray(state["simulations"]), self._simulations.state.shape
        if simulations.shape != shape:
            raise ValueError(f"`state` must hold simulations of shape {list(shape)}, got {list(simulations.shape)}.")
        if (state["pushes"] is None) != (self._push_process is None):
            raise ValueError(f"`state` must come from worlds with the same pushes, here {self._pushes}.")
        factors = PhysicsFactors.from_table(np.asarray(state["physics"]))
        self._simulations.physics.apply(factors, np.arange(self.num_envs))
        self._simulations.state[:] = simulations
        self._observations = np.array(state["observations"])
        self._steps[:] = state["steps"]
        self._ranges = self._ranges if state["physics_varies"] else {}
        for generator, stream in zip(self._generators, state["streams"], strict=True):
            generator.bit_generator.state = stream
        if self._push_process:
            self._push_process.load_state_dict(state["pushes"])
        self.num_unstable = int(state["num_unstable"])

    def _set_adversary(
        self, task: AdversarialTask | None, bodies: tuple[str, ...], force_limit: float | None, unit: ForceUnit
    ) -> None:
        self.adversary_dim = 0
        """Size of the adversary's action, ``F``; 0 where the task has no adversary."""
        self.force_limit = 0.0
        """Largest force of the adversary along an axis, newtons."""
        if task is None:
            if force_limit is not None:
                raise ValueError(
                    f"`force_limit` needs one of the tasks {sorted(ADVERSARIAL_TASKS)}, got {force_limit}."
                )
            return
        if bodies != task.bodies:
            raise ValueError(f"`force_bodies` of an adversarial task are {list(task.bodies)}, got {list(bodies)}.")
        limit, unit = (task.force_limit, "newtons") if force_limit is None else (force_limit, unit)
        self.force_limit = limit_in_newtons(self._simulations.model, limit, unit)
        self._adversary_axes = axis_indices(task.axes)
        self.adversary_dim = task.adversary_dim

    def _set_spaces(self) -> None:
        low, high = self._simulations.model.actuator_ctrlrange.astype(np.float32).T
        num_features = self.task.observe(self._simulations.worlds).shape[1]
        self.single_action_space = Box(low, high, dtype=np.float32)
        self.single_observation_space = Box(-np.inf, np.inf, (num_features,), dtype=np.float64)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def _reseed(self, seed: int) -> None:
        worlds = range(self._first_world, self._first_world + self.num_envs)
        self._generators = [numpy_stream(Purpose.WORLD, seed, world) for world in worlds]
        self._push_process = None
        if self._pushes:
            streams = [numpy_stream(Purpose.PUSH, seed, world) for world in worlds]
            self._push_process = PushProcess(self._pushes, streams)

    def _restart(self, worlds: Indices) -> None:
        """Draw physics and an initial state for some worlds."""
        generators = [self._generators[world] for world in worlds]
        if self._ranges:
            self._simulations.physics.apply(PhysicsFactors.sample(self._ranges, generators), worlds)
        drawn = [self.task.initial_state(*self._simulations.initial_state, generator) for generator in generators]
        self._begin(worlds, np.stack([state[0] for state in drawn]), np.stack([state[1] for state in drawn]))

    def _begin(self, worlds: Indices, positions: Array, velocities: Array) -> None:
        """Start an episode of some worlds in given states."""
        self._simulations.begin(worlds, positions, velocities)
        self._steps[worlds] = 0
        if self._push_process:
            self._push_process.restart(worlds)

    def _exert(self, forces: Array | None) -> None:
        """Hand the external forces of this step to the simulations."""
        if forces is not None:
            forces = _checked("forces", forces, (self.num_envs, len(self._force_ids), 3))
            self._simulations.exert(self._force_ids, forces)
        if self._push_process:
            along_x = self._push_process.advance()[:, None, None] * np.array([1.0, 0.0, 0.0])
            self._simulations.exert([self._pushed_id], along_x)

    def _require_started(self) -> Array:
        if self._observations is None:
            raise gymnasium.error.ResetNeeded("Call `reset` or `load_state_dict` first.")
        return self._observations

    def _require_effective(self, names: set[str]) -> None:
        effective = TASK_BODIES[self.task.env_id].physics
        if not effective.issuperset(names):
            raise ValueError(
                f"`physics` of {self.task.env_id} may change {sorted(effective)}, nothing else has an effect; "
                f"got {sorted(names)}."
            )


def _checked(argument: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"`{argument}` must have shape {list(shape)}, got {list(values.shape)}.")
    if not np.isfinite(values).all():
        raise ValueError(f"`{argument}` must be finite, got NaN or infinity.")
    return values
