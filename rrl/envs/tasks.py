"""All tasks by name, and those that balance or reach: one class each, as Gymnasium's v5, for many worlds.

The fields of a task class are the numeric options of the Gymnasium environment of the same name, with its defaults.
The tests hold both to be equal, step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rrl.checks import require_one_of
from rrl.envs.legged import Ant, Humanoid, HumanoidStandup
from rrl.envs.own_models import require_equal_to_gymnasium
from rrl.envs.runners import HalfCheetah, Hopper, Swimmer, Walker2d
from rrl.envs.simulation import Worlds
from rrl.envs.task import NoisyTask, Outcome, Task

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class InvertedPendulum(NoisyTask):
    """Balance a pole on a cart: 1 per step while it stands."""

    env_id = "InvertedPendulum-v5"
    model_file = "inverted_pendulum.xml"
    max_angle: ClassVar[float] = 0.2

    frame_skip: int = 2
    reset_noise_scale: float = 0.01

    @property
    def healthy_box(self) -> tuple[Array, Array]:
        """The angle may reach 0.2 rad either way, so the open bounds are the next numbers beyond. Shapes ``[O]``."""
        high = np.full(sum(self.sizes), np.inf)
        high[1] = np.nextafter(self.max_angle, np.inf)
        return -high, high

    def observe(self, worlds: Worlds) -> Array:
        """Positions and velocities. Shape ``[N, 4]``."""
        return np.concatenate([worlds.positions, worlds.velocities], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay 1 unless the pole fell."""
        terminated = np.abs(worlds.positions[:, 1]) > self.max_angle
        return Outcome(np.where(terminated, 0.0, 1.0), terminated)


@dataclass(frozen=True, kw_only=True)
class InvertedDoublePendulum(NoisyTask):
    """Balance two poles on a cart. The height of the tip ends an episode, which is no box of observations."""

    env_id = "InvertedDoublePendulum-v5"
    model_file = "inverted_double_pendulum.xml"
    normal_velocities = True

    frame_skip: int = 5
    healthy_reward: float = 10.0
    reset_noise_scale: float = 0.1

    @property
    def terminates(self) -> bool:
        """An episode ends when the tip falls below 1 m."""
        return True

    def observe(self, worlds: Worlds) -> Array:
        """Cart, sines and cosines, velocities, the slider's constraint force. Shape ``[N, 9]``."""
        angles = worlds.positions[:, 1:]
        force = np.clip(worlds.constraint_forces[:, :1], -10, 10)
        velocities = np.clip(worlds.velocities, -10, 10)
        return np.concatenate([worlds.positions[:, :1], np.sin(angles), np.cos(angles), velocities, force], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for standing, less distance and speed."""
        x, height = worlds.site_positions[:, 0, 0], worlds.site_positions[:, 0, 2]
        terminated = height <= 1
        distance_penalty = 0.01 * x**2 + (height - 2) ** 2
        velocity_penalty = 1e-3 * worlds.velocities[:, 1] ** 2 + 5e-3 * worlds.velocities[:, 2] ** 2
        return Outcome(self.healthy_reward * ~terminated - distance_penalty - velocity_penalty, terminated)


@dataclass(frozen=True, kw_only=True)
class Reacher(Task):
    """Reach a target with a two-joint arm; an episode never fails."""

    env_id = "Reacher-v5"
    model_file = "reacher.xml"
    max_episode_steps = 50
    fingertip_id: ClassVar[int] = 3
    target_id: ClassVar[int] = 4

    frame_skip: int = 2
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 1.0

    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Noise on the arm and a target within 0.2 m."""
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
        """Charge for distance and control."""
        distance_cost = self.reward_dist_weight * np.linalg.norm(self._way(worlds), axis=1)
        control_cost = self.reward_control_weight * np.square(actions).sum(axis=1)
        return Outcome(-distance_cost - control_cost, np.zeros(len(distance_cost), dtype=bool))

    def _way(self, worlds: Worlds) -> Array:
        """From the target to the fingertip, metres. Shape ``[N, 3]``."""
        return worlds.body_positions[:, self.fingertip_id] - worlds.body_positions[:, self.target_id]


@dataclass(frozen=True, kw_only=True)
class Pusher(Task):
    """Push a cylinder to a goal with an arm of seven joints; an episode never fails."""

    env_id = "Pusher-v5"
    model_file = "pusher_v5.xml"
    max_episode_steps = 100
    num_joints: ClassVar[int] = 7
    tip_id: ClassVar[int] = 10
    object_id: ClassVar[int] = 11
    goal_id: ClassVar[int] = 12

    frame_skip: int = 5
    reward_near_weight: float = 0.5
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 0.1

    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """The cylinder at least 0.17 m away from the goal, and noise on the velocities of the arm."""
        cylinder = np.zeros(2)
        while np.linalg.norm(cylinder) <= 0.17:
            cylinder = np.concatenate([generator.uniform(-0.3, 0.0, size=1), generator.uniform(-0.2, 0.2, size=1)])
        positions = positions.copy()
        positions[-4:-2], positions[-2:] = cylinder, 0.0
        velocities = velocities + generator.uniform(-0.005, 0.005, size=velocities.shape)
        velocities[-4:] = 0.0
        return positions, velocities

    def observe(self, worlds: Worlds) -> Array:
        """Joints and their velocities, and where tip, cylinder and goal are. Shape ``[N, 23]``."""
        places = worlds.body_positions[:, [self.tip_id, self.object_id, self.goal_id]]
        joints = [worlds.positions[:, : self.num_joints], worlds.velocities[:, : self.num_joints]]
        return np.concatenate([*joints, places.reshape(len(places), -1)], axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Charge for the ways from tip to cylinder and from cylinder to goal, and for control."""
        cylinder = worlds.body_positions[:, self.object_id]
        near = np.linalg.norm(cylinder - worlds.body_positions[:, self.tip_id], axis=1)
        far = np.linalg.norm(cylinder - worlds.body_positions[:, self.goal_id], axis=1)
        control = np.square(actions).sum(axis=1)
        rewards = -self.reward_dist_weight * far - self.reward_control_weight * control - self.reward_near_weight * near
        return Outcome(rewards, np.zeros(len(rewards), dtype=bool))


SHIPPED = (
    *(InvertedPendulum, InvertedDoublePendulum, Hopper, Walker2d, HalfCheetah, Swimmer, Reacher),
    *(Ant, Humanoid, HumanoidStandup, Pusher),
)
"""The tasks that are Gymnasium's."""
TASKS: dict[str, type[Task]] = {task.env_id: task for task in SHIPPED}
"""All tasks by name; :func:`~rrl.envs.register.register_task` adds to them."""


def make_task(env_id: str, options: Mapping[str, Any] | None = None) -> Task:
    """Set up a task with numeric options of the Gymnasium environment.

    Unknown names raise ValueError, as does a model of one's own (``xml_file``) to which the task does not apply.
    """
    require_one_of(sorted(TASKS), env_id=env_id)
    task_class = TASKS[env_id]
    known = {field.name for field in fields(task_class)}
    unknown = sorted(set(options or {}) - known)
    if unknown:
        raise ValueError(f"`env_kwargs` of {env_id} may hold {sorted(known)}, got {unknown}.")
    task = task_class(**(options or {}))
    if task.xml_file is not None and task_class in SHIPPED:
        require_equal_to_gymnasium(task, dict(options or {}))
    return task
