"""An adversary for any MuJoCo environment of Gymnasium: forces on named bodies as a second action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rrl.envs.bodies import ADVERSARIAL_TASKS, FORCE_LIMIT, AdversaryBodies
from rrl.envs.forces import BodyForces, ForceUnit, set_masses

PROTAGONIST, ADVERSARY = "protagonist", "adversary"
"""The two actions of a step."""


@runtime_checkable
class HasAdversary(Protocol):
    """Worlds that an adversary may push, if they have one."""

    adversary_dim: int
    """Size of the adversary's action, ``F``; 0 without an adversary."""

    def adversary_forces(self, adversary_actions: NDArray[Any]) -> NDArray[np.float64]:
        """Scale adversary actions ``[N, F]``, clipped to -1 to 1, to the forces that ``step`` takes."""


class AdversarialForce(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """Adds an adversary that exerts forces on some bodies of a MuJoCo environment.

    An action is a dictionary: ``protagonist`` is the environment's own action, ``adversary`` holds the forces along
    the given world axes, newtons, body by body. They act at the centres of mass for this one step and are clipped to
    the limit, see :class:`~rrl.envs.forces.BodyForces`. Observation and reward are the environment's own; the
    adversary's reward is the negated one. ``masses`` replaces nominal masses of bodies, kilograms.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        bodies: Sequence[str],
        *,
        axes: str = "xz",
        force_limit: float = FORCE_LIMIT,
        force_limit_unit: ForceUnit = "newtons",
        masses: Mapping[str, float] | None = None,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, bodies=bodies, axes=axes, force_limit=force_limit, force_limit_unit=force_limit_unit, masses=masses
        )
        gymnasium.Wrapper.__init__(self, env)
        simulator: Any = env.unwrapped
        if not isinstance(getattr(simulator, "model", None), mujoco.MjModel):
            raise ValueError(f"`env` must be a MuJoCo environment, got {simulator}.")
        set_masses(simulator.model, masses or {})
        self._model, self._data = simulator.model, simulator.data
        self.adversary = AdversaryBodies(bodies=list(bodies), axes=axes)
        self.force_limit = 0.0
        self.change(None, force_limit, force_limit_unit)

    def change(self, adversary: AdversaryBodies | None, force_limit: float | None, unit: ForceUnit) -> None:
        """Let the adversary push elsewhere, or with another limit; None leaves what there is."""
        self.adversary = adversary or self.adversary
        limit, unit = (self.force_limit, "newtons") if force_limit is None else (force_limit, unit)
        self._forces = BodyForces(self._model, self.adversary, limit=limit, unit=unit)
        self.force_limit = self._forces.limit
        high = np.full(self._forces.dim, self.force_limit)
        self.action_space = Dict({PROTAGONIST: self.env.action_space, ADVERSARY: Box(-high, high, dtype=np.float64)})

    def step(self, action: dict[str, NDArray[Any]]) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Advance the environment under the adversary's forces."""
        components = np.clip(np.asarray(action[ADVERSARY], dtype=np.float64), -self.force_limit, self.force_limit)
        self._data.xfrc_applied[self._forces.body_ids, :3] = self._forces.vectors(components)
        try:
            return self.env.step(action[PROTAGONIST])
        finally:
            self._data.xfrc_applied[self._forces.body_ids, :3] = 0.0


def make_adversarial(
    task_id: str, force_limit: float | None = None, force_limit_unit: ForceUnit = "newtons", **env_kwargs: Any
) -> AdversarialForce:
    """Make one of ``ADVERSARIAL_TASKS`` without a time limit, by default with its own force limit, for Gymnasium."""
    row = ADVERSARIAL_TASKS[task_id]
    env = gymnasium.make(row.env_id, max_episode_steps=-1, disable_env_checker=True, **env_kwargs)
    return AdversarialForce(
        env,
        row.bodies,
        axes=row.axes,
        force_limit=row.force_limit if force_limit is None else force_limit,
        force_limit_unit="newtons" if force_limit is None else force_limit_unit,
        masses=dict(row.masses),  # Gymnasium copies arguments, which it cannot do with a read-only view
    )


class AdversarialWorlds(VectorWrapper[Any, Any, Any]):
    """Environments of :class:`AdversarialForce` that reset in the same step, with the interface of native worlds."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        spaces: Any = env.single_action_space
        self.force_limits = spaces[ADVERSARY].high
        self.adversary_dim = len(self.force_limits)
        self.single_action_space = spaces[PROTAGONIST]
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def adversary_forces(self, adversary_actions: NDArray[Any]) -> NDArray[np.float64]:
        """See :class:`HasAdversary`."""
        return np.asarray(np.clip(adversary_actions, -1.0, 1.0) * self.force_limits)

    def step(
        self, actions: Any, forces: NDArray[np.float64] | None = None
    ) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Advance all environments under what :meth:`adversary_forces` returned; ``None`` is zero."""
        if forces is None:
            forces = np.zeros((self.num_envs, self.adversary_dim))
        return self.env.step({PROTAGONIST: actions, ADVERSARY: forces})
