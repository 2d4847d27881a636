"""The tasks with many legs or joints, whose observations hold forces and inertias: Ant, Humanoid, HumanoidStandup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rrl.envs.runners import Range, Runner
from rrl.envs.simulation import CONTACTS, Worlds
from rrl.envs.task import NoisyTask, Outcome

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ant(Runner):
    """Run on four legs: an episode ends when the torso is too low or too high."""

    env_id = "Ant-v5"
    model_file = "ant.xml"
    num_hidden = 2
    normal_velocities = True
    fields = (CONTACTS,)

    frame_skip: int = 5
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 0.5
    contact_cost_weight: float = 5e-4
    healthy_reward: float = 1.0
    main_body: int = 1
    terminate_when_unhealthy: bool = True
    healthy_z_range: Range = (0.2, 1.0)
    contact_force_range: Range = (-1.0, 1.0)
    reset_noise_scale: float = 0.1
    include_cfrc_ext_in_observation: bool = True

    @property
    def terminates(self) -> bool:
        """Unless termination is switched off."""
        return self.terminate_when_unhealthy

    def forward_positions(self, worlds: Worlds) -> Array:
        """Where the main body is."""
        return worlds.body_positions[:, self.main_body, 0].copy()

    def observe(self, worlds: Worlds) -> Array:
        """Positions without x and y, velocities, and clipped contact forces."""
        parts = [super().observe(worlds)]
        if self.include_cfrc_ext_in_observation:
            parts.append(self._contact_forces(worlds)[:, 1:].reshape(len(parts[0]), -1))
        return np.concatenate(parts, axis=1)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for speed and for being healthy, charge for control and contacts."""
        states = np.concatenate([worlds.positions, worlds.velocities], axis=1)
        low, high = self.healthy_z_range
        healthy = np.isfinite(states).all(axis=1) & (low <= states[:, 2]) & (states[:, 2] <= high)
        rewards = self.forward_reward_weight * x_velocities + healthy * self.healthy_reward
        contact_costs = self.contact_cost_weight * np.square(self._contact_forces(worlds)).sum(axis=(1, 2))
        terminated = ~healthy if self.terminate_when_unhealthy else np.zeros_like(healthy)
        return Outcome(rewards - (self._control_cost(actions) + contact_costs), terminated)

    def _contact_forces(self, worlds: Worlds) -> Array:
        return np.clip(worlds.more[CONTACTS], *self.contact_force_range)


@dataclass(frozen=True, kw_only=True)
class Humanlike(NoisyTask):
    """What the two tasks of the humanoid share."""

    fields: ClassVar[tuple[str, ...]] = ("cinert", "cvel", "qfrc_actuator", CONTACTS)
    num_free: ClassVar[int] = 6
    """Velocities of the free joint of the torso, which nothing drives."""

    ctrl_cost_weight: float = 0.1
    reset_noise_scale: float = 1e-2
    exclude_current_positions_from_observation: bool = True
    include_cinert_in_observation: bool = True
    include_cvel_in_observation: bool = True
    include_qfrc_actuator_in_observation: bool = True
    include_cfrc_ext_in_observation: bool = True

    def observe(self, worlds: Worlds) -> Array:
        """Positions without x and y, velocities, inertias and velocities of the bodies, forces."""
        count, more = len(worlds.positions), worlds.more
        skipped = 2 if self.exclude_current_positions_from_observation else 0
        parts = [worlds.positions[:, skipped:], worlds.velocities]
        parts += [more["cinert"][:, 1:]] if self.include_cinert_in_observation else []
        parts += [more["cvel"][:, 1:]] if self.include_cvel_in_observation else []
        parts += [more["qfrc_actuator"][:, self.num_free :]] if self.include_qfrc_actuator_in_observation else []
        parts += [more[CONTACTS][:, 1:]] if self.include_cfrc_ext_in_observation else []
        return np.concatenate([part.reshape(count, -1) for part in parts], axis=1)

    def _control_cost(self, actions: NDArray[Any]) -> Array:
        return np.asarray(self.ctrl_cost_weight * np.square(actions.astype(np.float64)).sum(axis=1))

    @staticmethod
    def _contact_cost(worlds: Worlds, weight: float, bounds: Range) -> Array:
        return np.asarray(np.clip(weight * np.square(worlds.more[CONTACTS]).sum(axis=(1, 2)), *bounds))


@dataclass(frozen=True, kw_only=True)
class Humanoid(Humanlike):
    """Walk on two legs: an episode ends when the torso is too low or too high."""

    env_id = "Humanoid-v5"
    model_file = "humanoid.xml"
    moves = True
    fields = (*Humanlike.fields, "xipos", "body_mass")

    frame_skip: int = 5
    forward_reward_weight: float = 1.25
    contact_cost_weight: float = 5e-7
    contact_cost_range: Range = (float("-inf"), 10.0)
    healthy_reward: float = 5.0
    terminate_when_unhealthy: bool = True
    healthy_z_range: Range = (1.0, 2.0)

    @property
    def terminates(self) -> bool:
        """Unless termination is switched off."""
        return self.terminate_when_unhealthy

    def forward_positions(self, worlds: Worlds) -> Array:
        """Where the centre of mass is."""
        masses = worlds.more["body_mass"]
        return np.asarray(np.einsum("nb,nb->n", masses, worlds.more["xipos"][:, :, 0]) / masses.sum(axis=1))

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for speed and for being healthy, charge for control and contacts."""
        low, high = self.healthy_z_range
        healthy = (low < worlds.positions[:, 2]) & (worlds.positions[:, 2] < high)
        rewards = self.forward_reward_weight * x_velocities + healthy * self.healthy_reward
        costs = self._control_cost(actions) + self._contact_cost(
            worlds, self.contact_cost_weight, self.contact_cost_range
        )
        return Outcome(rewards - costs, ~healthy if self.terminate_when_unhealthy else np.zeros_like(healthy))


@dataclass(frozen=True, kw_only=True)
class HumanoidStandup(Humanlike):
    """Stand up from lying: pay for the height of the torso; an episode never fails."""

    env_id = "HumanoidStandup-v5"
    model_file = "humanoidstandup.xml"
    seconds_per_step: ClassVar[float] = 0.003
    """Step of the simulator by which Gymnasium divides the height."""

    frame_skip: int = 5
    uph_cost_weight: float = 1.0
    impact_cost_weight: float = 0.5e-6
    impact_cost_range: Range = (float("-inf"), 10.0)

    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Pay for height, charge for control and impacts. Gymnasium does not use ``uph_cost_weight`` either."""
        height = worlds.positions[:, 2] / self.seconds_per_step
        impact = self._contact_cost(worlds, self.impact_cost_weight, self.impact_cost_range)
        rewards = height - self._control_cost(actions) - impact + 1.0
        return Outcome(rewards, np.zeros(len(rewards), dtype=bool))
