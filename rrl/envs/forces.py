"""What an adversary can do to a model: its forces, their limits, and the masses that its task prescribes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import mujoco
import numpy as np
from numpy.typing import NDArray

from rrl.checks import require_one_of
from rrl.envs.bodies import ADVERSARIAL_TASKS, AXES

Array = NDArray[np.float64]
ForceUnit = Literal["newtons", "body_weight"]


class BodyForces:
    """Forces along world axes, different letters of ``xyz``, at the centres of mass of ``K`` different bodies.

    The limit holds along each axis, in ``newtons``, or multiples of the model's present ``body_weight``.
    """

    def __init__(
        self, model: mujoco.MjModel, bodies: Sequence[str], *, axes: str, limit: float, unit: ForceUnit
    ) -> None:
        self.body_ids = [require_body(model, name, "bodies") for name in bodies]
        if not bodies or len(set(bodies)) < len(bodies):
            raise ValueError(f"`bodies` must name at least one body, each once, got {list(bodies)}.")
        if not axes or not set(axes) <= set(AXES) or len(set(axes)) < len(axes):
            raise ValueError(f"`axes` must be different letters of {AXES!r}, got {axes!r}.")
        self._axes = [AXES.index(axis) for axis in axes]
        self.limit = limit_in_newtons(model, limit, unit)
        self.dim = len(self.body_ids) * len(self._axes)
        """Number of components, ``F``, body by body."""

    @classmethod
    def of_task(
        cls, model: mujoco.MjModel, env_id: str, limit: float | None, unit: ForceUnit = "newtons"
    ) -> BodyForces | None:
        """Give the adversary of a task its forces: the task's own limit where None, and none without an adversary."""
        if row := ADVERSARIAL_TASKS.get(env_id):
            limit, unit = (row.force_limit, "newtons") if limit is None else (limit, unit)
            return cls(model, row.bodies, axes=row.axes, limit=limit, unit=unit)
        if limit is not None:
            raise ValueError(f"`force_limit` needs one of the tasks {sorted(ADVERSARIAL_TASKS)}, got {env_id!r}.")
        return None

    def scaled(self, actions: NDArray[Any]) -> Array:
        """Turn actions ``[..., F]``, clipped to -1 to 1, into components, newtons."""
        return self.limit * np.clip(actions.astype(np.float64), -1.0, 1.0)

    def vectors(self, components: Array) -> Array:
        """Spread components ``[..., F]`` over whole force vectors ``[..., K, 3]`` in the world's frame."""
        forces = np.zeros((*components.shape[:-1], len(self.body_ids), len(AXES)))
        forces[..., self._axes] = components.reshape(*components.shape[:-1], len(self.body_ids), len(self._axes))
        return forces


def require_body(model: mujoco.MjModel, name: str, argument: str) -> int:
    """Find a body by its name, given as some argument; ValueError if there is none."""
    names = [model.body(index).name for index in range(model.nbody)]
    if name not in names[1:]:
        raise ValueError(f"`{argument}` must be among {names[1:]}, got {name!r}.")
    return names.index(name)


def set_masses(model: mujoco.MjModel, masses: Mapping[str, float]) -> None:
    """Give bodies absolute masses in place, kilograms by name, and refresh what derives from them; inertia stays."""
    for name, mass in masses.items():
        if not 0.0 < mass < np.inf:
            raise ValueError(f"`masses[{name!r}]` must be positive and finite, got {mass}.")
        model.body_mass[require_body(model, name, "masses")] = mass
    if masses:
        mujoco.mj_setConst(model, mujoco.MjData(model))


def limit_in_newtons(model: mujoco.MjModel, force_limit: float, unit: ForceUnit) -> float:
    """Convert the limit of a force to newtons, see :class:`BodyForces`."""
    if not 0.0 <= force_limit < np.inf:
        raise ValueError(f"`force_limit` must be at least 0 and finite, got {force_limit}.")
    require_one_of(get_args(ForceUnit), force_limit_unit=unit)
    if unit == "newtons":
        return float(force_limit)
    weight = float(model.body_mass.sum() * np.linalg.norm(model.opt.gravity))
    if weight == 0.0:
        raise ValueError("`force_limit_unit` must be 'newtons' where there is no gravity, got 'body_weight'.")
    return force_limit * weight
