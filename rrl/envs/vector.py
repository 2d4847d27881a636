"""Many worlds of one MuJoCo task, stepped natively, with external forces and physics as inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rrl.checks import require_at_least
from rrl.envs.bodies import ADVERSARIAL_TASKS, TASK_BODIES, AdversaryBodies
from rrl.envs.forces import BodyForces, ForceUnit, Pushes, PushProcess
from rrl.envs.physics import RandomPhysics, Ranges
from rrl.envs.restarts import Restarts
from rrl.envs.simulation import Simulations, available_cores
from rrl.envs.task import make_transition
from rrl.envs.tasks import make_task
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
    processes and threads changes nothing. By default there is one native thread per available core, at most one per
    world. For the other arguments see :func:`~rrl.envs.make.make_vec_env`.
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
        adversary: AdversaryBodies | None = None,
        force_limit: float | None = None,
        force_limit_unit: ForceUnit = "newtons",
    ) -> None:
        row = ADVERSARIAL_TASKS.get(env_id)
        require_at_least(1, num_envs=num_envs, num_threads=num_threads, max_episode_steps=max_episode_steps)
        self.task = make_task(row.env_id if row else env_id, env_kwargs)
        self.spec = gymnasium.spec(env_id)
        self.num_envs = num_envs
        num_threads = num_threads or min(available_cores(), num_envs)
        masses = row.masses if row else {}
        self._simulations = Simulations(
            self.task.model_path, num_envs, num_threads, masses=masses, fields=self.task.fields
        )
        self.dt: float = self._simulations.model.opt.timestep * self.task.frame_skip
        """Simulated time of one environment step, seconds."""
        self._set_spaces()
        self._pushed_ids = [self._simulations.body_id(TASK_BODIES[self.task.env_id].pushed)]
        self._adversary = BodyForces.of_task(self._simulations.model, env_id, adversary, force_limit, force_limit_unit)
        self.adversary_dim = self._adversary.dim if self._adversary else 0
        self.force_limit = self._adversary.limit if self._adversary else 0.0  # newtons
        self._physics = RandomPhysics(physics or {}, self.task.env_id, self._simulations)
        self._time_limit = max_episode_steps or self.task.max_episode_steps
        self._pushes, self._first_world = pushes, first_world
        self.width = 1.0
        """Share of pushes and ranges of physics, in ``[0, 1]``, that episodes have which start from now on."""
        self._widths = np.ones(num_envs)  # of the running episodes
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._observations: Array | None = None
        self._loaded_positions: Array | None = None
        self._reseed(seed)

    @property
    def physics(self) -> dict[str, Array]:
        """The random factors in force now, by parameter. Shapes ``[N]``."""
        return self._physics.factors

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start a new episode in every world; ValueError if there are options, of which none are known here."""
        if options:
            raise ValueError(f"`options` must be empty, got {options}.")
        if seed is not None:
            self._reseed(seed)
        self._loaded_positions = None
        self._restart(np.arange(self.num_envs))
        self._observations = self.task.observe(self._simulations.worlds)
        return self._observations.copy(), {}

    def step(
        self, actions: NDArray[Any], forces: Array | None = None
    ) -> tuple[Array, Array, Flags, Flags, dict[str, Any]]:
        """Advance every world by one environment step, and reset those whose episode ends.

        MuJoCo clips actions ``[N, A]`` to the action box; control costs see them as given. Forces ``[N, K, 3]``,
        newtons in the world's frame, act for this step at the centres of mass of the ``K`` bodies that the adversary
        pushes, or of the pushed body where there is none. A wrong shape, or what is not finite, raises ValueError.
        """
        before = self._require_started()
        actions = _checked("actions", actions, (self.num_envs, self._simulations.model.nu))
        self._exert(forces)
        loaded, self._loaded_positions = self._loaded_positions, None
        step = make_transition(self._simulations, self.task, actions, before, x_before=loaded)
        self._steps += 1
        observations = step.observations
        infos: dict[str, Any] = {"unstable": step.unstable} if step.unstable.any() else {}
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
        """Scale an adversary's actions ``[N, F]``, clipped to -1 to 1, to the forces ``[N, K, 3]`` of :meth:`step`."""
        if self._adversary is None:
            raise ValueError(f"{self.task.env_id} has no adversary.")
        actions = _checked("adversary_actions", adversary_actions, (self.num_envs, self.adversary_dim))
        return self._adversary.vectors(self._adversary.scaled(actions))

    def simulator_states(self) -> Array:
        """Copy the generalised positions and velocities, in this order. Shape ``[N, S]``."""
        return np.concatenate([self._simulations.worlds.positions, self._simulations.worlds.velocities], axis=1)

    def restart_in(self, states: Array, weights: Array, share: float) -> None:
        """Let a share of later episodes begin in states ``[P, S]``, drawn by weights ``[P]``; all else is as ever."""
        size = self._simulations.model.nq + self._simulations.model.nv
        self._restarts.set(_checked("states", states, (len(weights), size)), weights, share)

    def set_simulator_states(self, states: Array) -> Array:
        """Start an episode in every world from given positions and velocities ``[N, S]``; return raw observations.

        The worlds keep their physics and get new pushes.
        """
        model = self._simulations.model
        states = _checked("states", states, (self.num_envs, model.nq + model.nv))
        self._loaded_positions = None
        self._begin(np.arange(self.num_envs), states[:, : model.nq], states[:, model.nq :])
        self._observations = self.task.observe(self._simulations.worlds)
        return self._observations.copy()

    def state_dict(self) -> dict[str, Any]:
        """Return everything on which later steps depend, in plain types and NumPy arrays."""
        return {
            "simulations": self._simulations.state.copy(),
            "observations": self._require_started().copy(),
            "forward_positions": self.task.forward_positions(self._simulations.worlds),
            "steps": self._steps.copy(),
            "physics": self.physics,
            "widths": self._widths.copy(),
            "streams": [generator.bit_generator.state for generator in self._generators],
            "restarts": self._restarts.state_dict(),
            "pushes": self._push_process.state_dict() if self._push_process else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where :meth:`state_dict` was called on an object that was made with the same arguments."""
        simulations, shape = np.asarray(state["simulations"]), self._simulations.state.shape
        if simulations.shape != shape:
            raise ValueError(f"`state` must hold simulations of shape {list(shape)}, got {list(simulations.shape)}.")
        # What the simulators derive from their state is that of the step before, and not part of the state.
        observations, positions = (np.array(state[key]) for key in ("observations", "forward_positions"))
        if observations.shape != self.observation_space.shape or positions.shape != (self.num_envs,):
            raise ValueError(f"`state` must hold observations and positions of {self.num_envs} worlds.")
        if (state["pushes"] is None) != (self._push_process is None):
            raise ValueError(f"`state` must come from worlds with the same pushes, here {self._pushes}.")
        self._physics.load_factors(state["physics"])
        self._simulations.state[:] = simulations
        self._observations, self._loaded_positions = observations, positions
        self._steps[:] = state["steps"]
        self._widths[:] = state["widths"]
        for generator, stream in zip(self._generators, state["streams"], strict=True):
            generator.bit_generator.state = stream
        self._restarts.load_state_dict(state["restarts"])
        if self._push_process:
            self._push_process.load_state_dict(state["pushes"])

    def _set_spaces(self) -> None:
        low, high = self._simulations.model.actuator_ctrlrange.astype(np.float32).T
        features = self.task.observe(self._simulations.worlds).shape[1:]
        self.single_action_space = Box(low, high, dtype=np.float32)
        self.single_observation_space = Box(-np.inf, np.inf, features, dtype=np.float64)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def _reseed(self, seed: int) -> None:
        worlds = range(self._first_world, self._first_world + self.num_envs)
        self._generators = [numpy_stream(Purpose.WORLD, seed, world) for world in worlds]
        self._restarts = Restarts([numpy_stream(Purpose.RESTART, seed, world) for world in worlds])
        streams = [numpy_stream(Purpose.PUSH, seed, world) for world in worlds]
        self._push_process = PushProcess(self._pushes, streams) if self._pushes else None

    def _restart(self, worlds: Indices) -> None:
        generators = [self._generators[world] for world in worlds]
        self._physics.restart(worlds, generators, width=self.width)
        self._widths[worlds] = self.width
        drawn = [self.task.initial_state(*self._simulations.initial_state, generator) for generator in generators]
        positions, velocities = (np.stack(part) for part in zip(*drawn, strict=True))
        for row, world in enumerate(worlds):
            if (state := self._restarts.draw(world)) is not None:
                positions[row], velocities[row] = np.split(state, [self._simulations.model.nq])
        self._begin(worlds, positions, velocities)

    def _begin(self, worlds: Indices, positions: Array, velocities: Array) -> None:
        self._simulations.begin(worlds, positions, velocities)
        self._steps[worlds] = 0
        if self._push_process:
            self._push_process.restart(worlds)

    def _exert(self, forces: Array | None) -> None:
        if forces is not None:
            bodies = self._adversary.body_ids if self._adversary else self._pushed_ids
            self._simulations.exert(bodies, _checked("forces", forces, (self.num_envs, len(bodies), 3)))
        if self._push_process:
            along_x = self._widths * self._push_process.advance()
            self._simulations.exert(self._pushed_ids, along_x[:, None, None] * np.array([1.0, 0.0, 0.0]))

    def _require_started(self) -> Array:
        if self._observations is None:
            raise gymnasium.error.ResetNeeded("Call `reset` or `load_state_dict` first.")
        return self._observations


def _checked(argument: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"`{argument}` must have shape {list(shape)}, got {list(values.shape)}.")
    if not np.isfinite(values).all():
        raise ValueError(f"`{argument}` must be finite, got NaN or infinity.")
    return values
