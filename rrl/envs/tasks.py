"""One class per MuJoCo task: reset noise, observation, reward and termination of Gymnasium's v5, for many worlds.

The fields of a task class are the numeric options of the Gymnasium environment of the same name, with its defaults;
the model files are the installed Gymnasium's own. The tests hold both to be equal, step by step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Range = tuple[float, float]


class Worlds(NamedTuple):
    """Live views of the simulator's arrays, one row per world."""

    positions: Array
    """Generalised positions ``qpos``. Shape ``[N, nq]``."""
    velocities: Array
    """Generalised velocities ``qvel``. Shape ``[N, nv]``."""
    body_positions: Array
    """World-frame origins of the bodies, metres. Shape ``[N, bodies, 3]``."""
    site_positions: Array
    """World-frame positions of the sites, metres. Shape ``[N, sites, 3]``."""
    constraint_forces: Array
    """Generalised constraint forces ``qfrc_constraint``. Shape ``[N, nv]``."""


class Outcome(NamedTuple):
    """What a step of all worlds was worth."""

    rewards: Array
    """Rewards. Shape ``[N]``."""
    terminated: NDArray[np.bool_]
    """True where the task ends the episode for good. Shape ``[N]``."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What an episode is about. An instance is a set of options; it holds no simulation."""

    env_id: ClassVar[str]
    model_file: ClassVar[str]
    num_positions: ClassVar[int]
    """Generalised positions of the model, ``nq``; every task here has as many velocities."""
    max_episode_steps: ClassVar[int] = 1000
    moves: ClassVar[bool] = False
    """True where progress along the world's x axis is what is rewarded; ``positions[:, 0]`` is that x."""

    frame_skip: int

    @property
    def model_path(self) -> Path:
        """The model of the installed Gymnasium."""
        return Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / self.model_file

    @property
    def terminates(self) -> bool:
        """True where an episode can end before its time limit."""
        return False

    @property
    def healthy_low(self) -> Array | None:
        """Bounds that every feature of a healthy observation exceeds; ``None`` without such a box. Shape ``[O]``."""
        return None

    @property
    def healthy_high(self) -> Array | None:
        """Bounds that every feature of a healthy observation stays below; ``None`` without. Shape ``[O]``."""
        return None

    @abstractmethod
    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Draw the state in which an episode of one world starts.

        Args:
            positions: Positions of the model file. Shape ``[nq]``.
            velocities: Velocities of the model file. Shape ``[nv]``.
            generator: The world's random stream.

        Returns:
            Positions ``[nq]`` and velocities ``[nv]``.
        """

    @abstractmethod
    def observe(self, worlds: Worlds) -> Array:
        """Observe all worlds.

        Args:
            worlds: The simulations.

        Returns:
            Raw observations, a fresh array. Shape ``[N, O]``.
        """

    @abstractmethod
    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Judge the step that was just made.

        Args:
            worlds: The simulations after the step.
            actions: The actions as given, not clipped. Shape ``[N, A]``.
            x_velocities: Mean change of ``positions[:, 0]`` during the step, per second. Shape ``[N]``.

        Returns:
            Rewards and terminations.
        """


def make_task(env_id: str, options: Mapping[str, Any] | None = None) -> Task:
    """Set up a task.

    Args:
        env_id: A key of ``TASKS``.
        options: Numeric keyword arguments of the Gymnasium environment, e.g. ``{"reset_noise_scale": 0.01}``.

    Returns:
        The task.

    Raises:
        ValueError: If there is no such task, or it has no such option.

    Example:
        >>> make_task("Hopper-v5", {"healthy_reward": 2.0}).healthy_low[:2]
        array([ 0.7, -0.2])
    """
    if env_id not in TASKS:
        raise ValueError(f"`env_id` must be one of {sorted(TASKS)}, got {env_id!r}.")
    task_class = TASKS[env_id]
    known = {field.name for field in fields(task_class)}
    unknown = sorted(set(options or {}) - known)
    if unknown:
        raise ValueError(f"`env_kwargs` of {env_id} may hold {sorted(known)}, got {unknown}.")
    return task_class(**(options or {}))


@dataclass(frozen=True, kw_only=True)
class InvertedPendulum(Task):
    """Balance a pole on a cart: 1 per step while it stands."""

    env_id = "InvertedPendulum-v5"
    model_file = "inverted_pendulum.xml"
    num_positions = 2
    max_angle: ClassVar[float] = 0.2

    frame_skip: int = 2
    reset_noise_scale: float = 0.01

    @property
    def terminates(self) -> bool:
        """An episode ends when the pole leans too far."""
        return True

    @property
    def healthy_low(self) -> Array:
        """The angle may reach -0.2 rad, so the open bound is the next number below. Shape ``[4]``."""
        return -self.healthy_high

    @property
    def healthy_high(self) -> Array:
        """The angle may reach 0.2 rad, so the open bound is the next number above. Shape ``[4]``."""
        return np.array([np.inf, np.nextafter(self.max_angle, np.inf), np.inf, np.inf])

    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Uniform noise on both, see :meth:`Task.initial_state`."""
        return _uniform_around(positions, velocities, self.reset_noise_scale, generator)

    def observe(self, worlds: Worlds) -> Array:
        """Positions and velocities, see :meth:`Task.observe`. Shape ``[N, 4]``."""
        return np.concatenate([worlds.positions, worlds.velocities], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay 1 unless the pole fell, see :meth:`Task.outcome`."""
        terminated = np.abs(worlds.positions[:, 1]) > self.max_angle
        return Outcome(np.where(terminated, 0.0, 1.0), terminated)


@dataclass(frozen=True, kw_only=True)
class InvertedDoublePendulum(Task):
    """Balance two poles on a cart. The height of the tip ends an episode, which is no box of observations."""

    env_id = "InvertedDoublePendulum-v5"
    model_file = "inverted_double_pendulum.xml"
    num_positions = 3

    frame_skip: int = 5
    healthy_reward: float = 10.0
    reset_noise_scale: float = 0.1

    @property
    def terminates(self) -> bool:
        """An episode ends when the tip falls below 1 m."""
        return True

    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Uniform noise on positions, normal on velocities, see :meth:`Task.initial_state`."""
        return _normal_velocities(positions, velocities, self.reset_noise_scale, generator)

    def observe(self, worlds: Worlds) -> Array:
        """Cart, sines and cosines, velocities, the slider's constraint force. Shape ``[N, 9]``."""
        angles = worlds.positions[:, 1:]
        force = np.clip(worlds.constraint_forces[:, :1], -10, 10)
        velocities = np.clip(worlds.velocities, -10, 10)
        return np.concatenate([worlds.positions[:, :1], np.sin(angles), np.cos(angles), velocities, force], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for standing, less distance and speed, see :meth:`Task.outcome`."""
        x, height = worlds.site_positions[:, 0, 0], worlds.site_positions[:, 0, 2]
        terminated = height <= 1
        distance_penalty = 0.01 * x**2 + (height - 2) ** 2
        velocity_penalty = 1e-3 * worlds.velocities[:, 1] ** 2 + 5e-3 * worlds.velocities[:, 2] ** 2
        return Outcome(self.healthy_reward * ~terminated - distance_penalty - velocity_penalty, terminated)


@dataclass(frozen=True, kw_only=True)
class _Runner(Task):
    """Run along x: forward velocity less control cost; what the runners and the swimmer share."""

    moves = True
    num_hidden: ClassVar[int] = 1
    """Leading positions that the observation leaves out by default."""

    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float
    reset_noise_scale: float
    exclude_current_positions_from_observation: bool = True

    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Uniform noise on both, see :meth:`Task.initial_state`."""
        return _uniform_around(positions, velocities, self.reset_noise_scale, generator)

    def observe(self, worlds: Worlds) -> Array:
        """Positions without the hidden ones, and velocities, see :meth:`Task.observe`."""
        return np.concatenate([worlds.positions[:, self._num_skipped :], worlds.velocities], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for speed, charge for control; never end, see :meth:`Task.outcome`."""
        rewards = self.forward_reward_weight * x_velocities - self._control_cost(actions)
        return Outcome(rewards, np.zeros(len(rewards), dtype=bool))

    @property
    def _num_skipped(self) -> int:
        return self.num_hidden if self.exclude_current_positions_from_observation else 0

    def _control_cost(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Cost of the actions as given, in their own precision as in Gymnasium. Shape ``[N]``."""
        return np.asarray(self.ctrl_cost_weight * np.sum(np.square(actions), axis=1))


@dataclass(frozen=True, kw_only=True)
class HalfCheetah(_Runner):
    """Run; an episode never fails."""

    env_id = "HalfCheetah-v5"
    model_file = "half_cheetah.xml"
    num_positions = 9

    frame_skip: int = 5
    ctrl_cost_weight: float = 0.1
    reset_noise_scale: float = 0.1

    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Uniform noise on positions, normal on velocities, see :meth:`Task.initial_state`."""
        return _normal_velocities(positions, velocities, self.reset_noise_scale, generator)


@dataclass(frozen=True, kw_only=True)
class Swimmer(_Runner):
    """Swim; an episode never fails."""

    env_id = "Swimmer-v5"
    model_file = "swimmer.xml"
    num_positions = 5
    num_hidden = 2

    frame_skip: int = 4
    ctrl_cost_weight: float = 1e-4
    reset_noise_scale: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Walker2d(_Runner):
    """Walk upright: an episode ends when the height or the angle of the torso leaves its open range."""

    env_id = "Walker2d-v5"
    model_file = "walker2d_v5.xml"
    num_positions = 9

    frame_skip: int = 4
    ctrl_cost_weight: float = 1e-3
    healthy_reward: float = 1.0
    terminate_when_unhealthy: bool = True
    healthy_z_range: Range = (0.8, 2.0)
    healthy_angle_range: Range = (-1.0, 1.0)
    reset_noise_scale: float = 5e-3

    @property
    def terminates(self) -> bool:
        """An episode ends on an unhealthy state, unless that is switched off."""
        return self.terminate_when_unhealthy

    @property
    def healthy_low(self) -> Array | None:
        """Lower bounds of healthy observations, see :attr:`Task.healthy_low`."""
        return self._state_bounds(0)[self._num_skipped :] if self.terminates else None

    @property
    def healthy_high(self) -> Array | None:
        """Upper bounds of healthy observations, see :attr:`Task.healthy_high`."""
        return self._state_bounds(1)[self._num_skipped :] if self.terminates else None

    def observe(self, worlds: Worlds) -> Array:
        """Positions without x, and velocities clipped to 10, see :meth:`Task.observe`."""
        velocities = np.clip(worlds.velocities, -10, 10)
        return np.concatenate([worlds.positions[:, self._num_skipped :], velocities], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for speed and for being healthy, charge for control, see :meth:`Task.outcome`."""
        healthy = self._is_healthy(worlds)
        rewards = self.forward_reward_weight * x_velocities + healthy * self.healthy_reward
        terminated = ~healthy if self.terminate_when_unhealthy else np.zeros_like(healthy)
        return Outcome(rewards - self._control_cost(actions), terminated)

    def _is_healthy(self, worlds: Worlds) -> NDArray[np.bool_]:
        (low_z, high_z), (low_angle, high_angle) = self.healthy_z_range, self.healthy_angle_range
        z, angle = worlds.positions[:, 1], worlds.positions[:, 2]
        return np.asarray((low_z < z) & (z < high_z) & (low_angle < angle) & (angle < high_angle))

    def _state_bounds(self, side: int) -> Array:
        """Open bounds of every position and velocity: lower at side 0, upper at side 1. Shape ``[nq + nv]``."""
        bounds = np.full(2 * self.num_positions, (-np.inf, np.inf)[side])
        bounds[1:3] = self.healthy_z_range[side], self.healthy_angle_range[side]
        return bounds


@dataclass(frozen=True, kw_only=True)
class Hopper(Walker2d):
    """Hop: as :class:`Walker2d`, and every state variable but x and z stays in a range."""

    env_id = "Hopper-v5"
    model_file = "hopper.xml"
    num_positions = 6

    healthy_state_range: Range = (-100.0, 100.0)
    healthy_z_range: Range = (0.7, float("inf"))
    healthy_angle_range: Range = (-0.2, 0.2)

    def _is_healthy(self, worlds: Worlds) -> NDArray[np.bool_]:
        low, high = self.healthy_state_range
        states = np.concatenate([worlds.positions[:, 2:], worlds.velocities], axis=1)
        in_range = ((low < states) & (states < high)).all(axis=1)
        return np.asarray(super()._is_healthy(worlds) & in_range)

    def _state_bounds(self, side: int) -> Array:
        tighter = np.minimum if side else np.maximum
        bounds = super()._state_bounds(side)
        bounds[2:] = tighter(bounds[2:], self.healthy_state_range[side])
        return bounds


@dataclass(frozen=True, kw_only=True)
class Reacher(Task):
    """Reach a target with a two-joint arm; an episode never fails."""

    env_id = "Reacher-v5"
    model_file = "reacher.xml"
    num_positions = 4
    max_episode_steps = 50
    fingertip_id: ClassVar[int] = 3
    target_id: ClassVar[int] = 4

    frame_skip: int = 2
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 1.0

    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Noise on the arm and a target within 0.2 m, see :meth:`Task.initial_state`."""
        positions = generator.uniform(-0.1, 0.1, size=positions.shape) + positions
        target = generator.uniform(-0.2, 0.2, size=2)
        while np.linalg.norm(target) >= 0.2:
            target = generator.uniform(-0.2, 0.2, size=2)
        positions[-2:] = target
        velocities = velocities + generator.uniform(-0.005, 0.005, size=velocities.shape)
        velocities[-2:] = 0.0
        return positions, velocities

    def observe(self, worlds: Worlds) -> Array:
        """Cosines and sines of the joints, target, joint velocities, way to the target. Shape ``[N, 10]``."""
        angles, target = worlds.positions[:, :2], worlds.positions[:, 2:]
        way = self._way(worlds)[:, :2]
        return np.concatenate([np.cos(angles), np.sin(angles), target, worlds.velocities[:, :2], way], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Charge for distance and control, see :meth:`Task.outcome`."""
        distance_cost = self.reward_dist_weight * np.linalg.norm(self._way(worlds), axis=1)
        control_cost = self.reward_control_weight * np.square(actions).sum(axis=1)
        return Outcome(-distance_cost - control_cost, np.zeros(len(distance_cost), dtype=bool))

    def _way(self, worlds: Worlds) -> Array:
        """From the target to the fingertip, metres. Shape ``[N, 3]``."""
        return worlds.body_positions[:, self.fingertip_id] - worlds.body_positions[:, self.target_id]


def _uniform_around(
    positions: Array, velocities: Array, scale: float, generator: np.random.Generator
) -> tuple[Array, Array]:
    noisy_positions = positions + generator.uniform(-scale, scale, size=positions.shape)
    return noisy_positions, velocities + generator.uniform(-scale, scale, size=velocities.shape)


def _normal_velocities(
    positions: Array, velocities: Array, scale: float, generator: np.random.Generator
) -> tuple[Array, Array]:
    noisy_positions = positions + generator.uniform(-scale, scale, size=positions.shape)
    return noisy_positions, velocities + scale * generator.standard_normal(velocities.shape)


TASKS: Mapping[str, type[Task]] = {
    task.env_id: task
    for task in (InvertedPendulum, InvertedDoublePendulum, Hopper, Walker2d, HalfCheetah, Swimmer, Reacher)
}
