"""Gymnasium's own environments, one object a world, as the reference for the native worlds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from rrl.envs import TASKS, MuJoCoVectorEnv

TASK_IDS = sorted(TASKS)


class GymnasiumWorlds:
    """Steps Gymnasium's v5 environments along with native ones, from the same states."""

    def __init__(self, native: MuJoCoVectorEnv, env_kwargs: Mapping[str, Any] | None = None) -> None:
        self.native = native
        env_id = native.task.env_id
        self.envs: list[Any] = [gymnasium.make(env_id, **(env_kwargs or {})).unwrapped for _ in range(native.num_envs)]

    def change_physics(self, factors: Mapping[str, NDArray[np.float64]]) -> None:
        for world, env in enumerate(self.envs):
            factor = {name: values[world] for name, values in factors.items()}
            env.model.body_mass[:] *= factor.get("mass", 1.0)
            env.model.body_inertia[:] *= factor.get("mass", 1.0)
            env.model.geom_friction[:] *= factor.get("friction", 1.0)
            env.model.dof_damping[:] *= factor.get("damping", 1.0)
            env.model.opt.gravity[:] *= factor.get("gravity", 1.0)
            env.model.actuator_gear[:] *= factor.get("gear", 1.0)
            mujoco.mj_setConst(env.model, mujoco.MjData(env.model))

    def copy_states(self, worlds: NDArray[np.intp]) -> None:
        states = self.native.simulator_states()
        for world in worlds:
            env = self.envs[world]
            mujoco.mj_resetData(env.model, env.data)
            env.set_state(*np.split(states[world], [env.model.nq]))

    def step(self, actions: NDArray[Any], forces: NDArray[Any] | None, bodies: list[str]) -> list[Any]:
        results = []
        for world, env in enumerate(self.envs):
            for index, name in enumerate(bodies):
                env.data.xfrc_applied[env.model.body(name).id, :3] = 0.0 if forces is None else forces[world, index]
            results.append(env.step(actions[world])[:3])
        return results


def assert_same_steps(
    worlds: GymnasiumWorlds, num_steps: int, *, bodies: list[str], force_std: float = 0.0, seed: int = 0
) -> int:
    """Compare observations, rewards and terminations bit for bit; return how many episodes terminated."""
    native, rng = worlds.native, np.random.default_rng(seed)
    worlds.copy_states(np.arange(native.num_envs))
    num_terminated = 0
    for _ in range(num_steps):
        # Wider than the box, so that the clipping of controls is compared as well.
        high = 1.5 * native.single_action_space.high
        actions = rng.uniform(-high, high, native.action_space.shape).astype(np.float32)
        forces = force_std * rng.standard_normal((native.num_envs, len(bodies), 3)) if force_std else None
        observations, rewards, terminated, truncated, infos = native.step(actions, forces)
        expected = worlds.step(actions, forces, bodies)
        np.testing.assert_array_equal(infos.get("final_obs", observations), np.stack([row[0] for row in expected]))
        # On some processors the norm of one vector and those of many round differently in the last digit (Reacher).
        np.testing.assert_array_max_ulp(rewards, np.array([row[1] for row in expected], dtype=np.float64), maxulp=2)
        np.testing.assert_array_equal(terminated, [row[2] for row in expected])
        worlds.copy_states(np.flatnonzero(terminated | truncated))
        num_terminated += int(terminated.sum())
    return num_terminated
