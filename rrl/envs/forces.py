"""External forces: what an adversary can do to a model, and random pushes that no observation shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import mujoco
import numpy as np
from numpy.typing import NDArray

from rrl.checks import require_one_of, require_positive, require_within
from rrl.envs.bodies import ADVERSARIAL_TASKS, AXES, FORCE_LIMIT, AdversaryBodies

Array = NDArray[np.float64]
ForceUnit = Literal["newtons", "body_weight"]


class BodyForces:
    """Forces along world axes at the centres of mass of ``K`` different bodies.

    The limit holds along each axis, in ``newtons``, or multiples of the model's present ``body_weight``.
    """

    def __init__(self, model: mujoco.MjModel, adversary: AdversaryBodies, *, limit: float, unit: ForceUnit) -> None:
        self.body_ids = [require_body(model, name, "bodies") for name in adversary.bodies]
        self._axes = [AXES.index(axis) for axis in adversary.axes]
        self.limit = limit_in_newtons(model, limit, unit)
        self.dim = len(self.body_ids) * len(self._axes)
        """Number of components, ``F``, body by body."""

    @classmethod
    def of_task(
        cls,
        model: mujoco.MjModel,
        env_id: str,
        adversary: AdversaryBodies | None,
        limit: float | None,
        unit: ForceUnit = "newtons",
    ) -> BodyForces | None:
        """Give the adversary of a task its forces; None without an adversary.

        It pushes where it is told or else where the task says, with the task's own limit, or 5 newtons, where None.
        """
        row = ADVERSARIAL_TASKS.get(env_id)
        if adversary is None and row is None:
            if limit is not None:
                raise ValueError(
                    f"`force_limit` needs one of the tasks {sorted(ADVERSARIAL_TASKS)} or the bodies of an "
                    f"`adversary`, got {env_id!r}."
                )
            return None
        if limit is None:
            limit, unit = (row.force_limit if row else FORCE_LIMIT), "newtons"
        bodies = adversary or (row.adversary if row else None)
        return cls(model, bodies, limit=limit, unit=unit) if bodies else None

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


# Numbers are drawn ahead, since one call per world and step would cost more than the simulation of it.
_BLOCK_STEPS = 256


@dataclass(frozen=True)
class Pushes:
    """A random force along the world's x axis that is held for a while.

    It is drawn from a normal distribution when an episode starts, and drawn anew before each step with a fixed
    probability, so it lasts ``1 / redraw_probability`` steps on average.
    """

    force_std: float
    """Standard deviation of the force, newtons. Positive."""
    redraw_probability: float
    """Probability per environment step, in ``[0, 1]``; 0 holds a push for a whole episode."""

    def __post_init__(self) -> None:
        require_positive(force_std=self.force_std)
        require_within("[0, 1]", redraw_probability=self.redraw_probability)


class PushProcess:
    """The pushes of all worlds at their present time, each from its world's own stream, which nobody else uses."""

    def __init__(self, pushes: Pushes, generators: list[np.random.Generator]) -> None:
        self._pushes, self._generators = pushes, generators
        self._redraws = np.empty((0, len(generators)))
        self._candidates = np.empty((0, len(generators)))
        self._cursor = 0
        self.forces: Array = np.zeros(len(generators))
        """Forces along x that act now, newtons. Shape ``[N]``."""

    def restart(self, worlds: NDArray[np.intp]) -> None:
        """Draw new pushes for worlds whose episode starts."""
        for world in worlds:
            self.forces[world] = self._pushes.force_std * self._generators[world].standard_normal()

    def advance(self) -> Array:
        """Move all worlds one step on and return the forces along x for it, newtons. Shape ``[N]``."""
        if self._cursor == len(self._redraws):
            self._redraws = np.stack([generator.random(_BLOCK_STEPS) for generator in self._generators], axis=1)
            normal = np.stack([generator.standard_normal(_BLOCK_STEPS) for generator in self._generators], axis=1)
            self._candidates, self._cursor = self._pushes.force_std * normal, 0
        redraw = self._redraws[self._cursor] < self._pushes.redraw_probability
        self.forces = np.where(redraw, self._candidates[self._cursor], self.forces)
        self._cursor += 1
        return self.forces

    def state_dict(self) -> dict[str, Any]:
        """Return everything on which later pushes depend."""
        return {
            "streams": [generator.bit_generator.state for generator in self._generators],
            "redraws": self._redraws.copy(),
            "candidates": self._candidates.copy(),
            "cursor": self._cursor,
            "forces": self.forces.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where :meth:`state_dict` was called."""
        for generator, stream in zip(self._generators, state["streams"], strict=True):
            generator.bit_generator.state = stream
        self._redraws, self._candidates = np.array(state["redraws"]), np.array(state["candidates"])
        self._cursor = state["cursor"]
        self.forces = np.array(state["forces"])
