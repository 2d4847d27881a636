"""The tasks that move forward: the runners and the swimmer; see ``tasks``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rrl.envs.simulation import Worlds
from rrl.envs.task import NoisyTask, Outcome

Array = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Runner(NoisyTask):
    """Run along x: forward velocity less control cost; what the runners and the swimmer share."""

    moves = True
    num_hidden: ClassVar[int] = 1
    """Leading positions that the observation leaves out by default."""

    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float
    exclude_current_positions_from_observation: bool = True

    def observe(self, worlds: Worlds) -> Array:
        """Positions without the hidden ones, and velocities."""
        return np.concatenate([worlds.positions[:, self._num_skipped :], worlds.velocities], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for speed, charge for control; never end."""
        rewards = self.forward_reward_weight * x_velocities - self._control_cost(actions)
        return Outcome(rewards, np.zeros(len(rewards), dtype=bool))

    @property
    def _num_skipped(self) -> int:
        return self.num_hidden if self.exclude_current_positions_from_observation else 0

    def _control_cost(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Cost of the actions as given, in their own precision as in Gymnasium. Shape ``[N]``."""
        return np.asarray(self.ctrl_cost_weight * np.sum(np.square(actions), axis=1))


@dataclass(frozen=True, kw_only=True)
class HalfCheetah(Runner):
    """Run; an episode never fails."""

    env_id = "HalfCheetah-v5"
    model_file = "half_cheetah.xml"
    normal_velocities = True

    frame_skip: int = 5
    ctrl_cost_weight: float = 0.1
    reset_noise_scale: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Swimmer(Runner):
    """Swim; an episode never fails."""

    env_id = "Swimmer-v5"
    model_file = "swimmer.xml"
    num_hidden = 2

    frame_skip: int = 4
    ctrl_cost_weight: float = 1e-4
    reset_noise_scale: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Walker2d(Runner):
    """Walk upright: an episode ends when the height or the angle of the torso leaves its open range."""

    env_id = "Walker2d-v5"
    model_file = "walker2d_v5.xml"

    frame_skip: int = 4
    ctrl_cost_weight: float = 1e-3
    healthy_reward: float = 1.0
    terminate_when_unhealthy: bool = True
    healthy_z_range: Range = (0.8, 2.0)
    healthy_angle_range: Range = (-1.0, 1.0)
    reset_noise_scale: float = 5e-3

    @property
    def healthy_box(self) -> tuple[Array, Array] | None:
        """Ranges of height and angle; None where termination is switched off."""
        if not self.terminate_when_unhealthy:
            return None
        return self._state_bounds(0)[self._num_skipped :], self._state_bounds(1)[self._num_skipped :]

    def observe(self, worlds: Worlds) -> Array:
        """Positions without x, and velocities clipped to 10."""
        return np.concatenate([worlds.positions[:, self._num_skipped :], np.clip(worlds.velocities, -10, 10)], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for speed and for being healthy, charge for control."""
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
        bounds = np.full(sum(self.sizes), (-np.inf, np.inf)[side])
        bounds[1:3] = self.healthy_z_range[side], self.healthy_angle_range[side]
        return bounds


@dataclass(frozen=True, kw_only=True)
class Hopper(Walker2d):
    """Hop: as :class:`Walker2d`, and every state variable but x and z stays in a range."""

    env_id = "Hopper-v5"
    model_file = "hopper.xml"

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
