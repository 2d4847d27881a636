"""Physical parameters by name, of the whole model or of its parts: the fields that a change gives, and random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from rrl.envs.bodies import TASK_BODIES
from rrl.envs.simulation import ModelFields, Simulations, nominal_field

Array = NDArray[np.float64]
Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest factor of the nominal value by parameter, ``0 < low <= high < inf``."""


@cache
def _array_names() -> list[str]:
    """Name the arrays of numbers that a model has."""
    example = mujoco.MjModel.from_xml_string("<mujoco/>")
    names = [name for name in dir(example) if not name.startswith("_")]
    return [name for name in names if isinstance(getattr(example, name), np.ndarray)]


class ModelParameter(NamedTuple):
    """A physical parameter of a model."""

    fields: tuple[str, ...]
    """Model fields that it scales; the first one holds its absolute value in the first column."""
    parts: str
    """What can be changed one by one: ``body``, ``geom``, ``joint`` or ``actuator``; empty if nothing can."""
    requires: str = ""
    """Member of ``TaskBodies.physics`` without which it has no effect on a task; empty where the values tell."""
    allows_zero: bool = False
    """Whether its absolute value may be 0."""


MODEL_PARAMETERS: Mapping[str, ModelParameter] = {
    "mass": ModelParameter(("body_mass", "body_inertia"), "body"),
    "mass_only": ModelParameter(("body_mass",), "body"),
    # MuJoCo takes the larger friction of two geoms in contact, so a factor changes floor and feet.
    "friction": ModelParameter(("geom_friction",), "geom", "friction", allows_zero=True),
    "floor_friction": ModelParameter(("geom_friction",), "", "friction", allows_zero=True),
    "damping": ModelParameter(("dof_damping",), "joint", allows_zero=True),
    "gravity": ModelParameter(("opt.gravity",), "", "gravity"),
    "gear": ModelParameter(("actuator_gear",), "actuator"),
    "frictionloss": ModelParameter(("dof_frictionloss",), "joint", allows_zero=True),
}
"""``mass`` scales inertia too. ``mass_only`` does not, and lets no derived constant follow, as in published sweeps."""

FLOOR = "floor"
"""Name of the ground in the models of all tasks that touch it."""
_RAW = frozenset({"mass_only"})


class ModelChange(NamedTuple):
    """One parameter of a model set to another value."""

    parameter: str
    """Key of ``MODEL_PARAMETERS``."""
    value: float
    """Factor of the nominal value, or the value itself."""
    parts: tuple[str, ...] = ()
    """Names of the bodies, geoms, joints, or joints driven by the actuators; all of them if empty."""
    absolute: bool = False
    """Whether ``value`` is the value itself: kilograms, newton metres, ..."""


class RandomPhysics:
    """Factors of the nominal physics, drawn uniformly for each episode of each world; 1 where there is no range."""

    def __init__(self, ranges: Ranges, task_id: str, simulations: Simulations) -> None:
        effective = effective_physics(simulations.model, task_id)
        if not effective.issuperset(ranges):
            raise ValueError(
                f"`physics` of {task_id} may change {sorted(effective)}, nothing else has an effect; "
                f"got {sorted(ranges)}."
            )
        for name, (low, high) in ranges.items():
            if not 0.0 < low <= high < np.inf:
                raise ValueError(f"`physics[{name!r}]` must satisfy 0 < low <= high < inf, got ({low}, {high}).")
        # In the order of the table, so that a draw does not depend on the order in which ranges are written.
        self._ranges = {name: ranges[name] for name in MODEL_PARAMETERS if name in ranges}
        self._task_id, self._simulations = task_id, simulations
        self._factors = np.ones((len(simulations.state), len(self._ranges)))

    @property
    def factors(self) -> dict[str, Array]:
        """The factors in force, by parameter. Shapes ``[N]``."""
        return dict(zip(self._ranges, self._factors.T.copy(), strict=True))

    def restart(
        self, worlds: NDArray[np.intp], generators: Sequence[np.random.Generator], *, width: float = 1.0
    ) -> None:
        """Draw new physics for worlds whose episode starts, one number per range from each's stream; states stay.

        A ``width`` in ``[0, 1]`` shrinks each range towards 1, to ``[1 - width (1 - low), 1 + width (high - 1)]``.
        """
        for world, generator in zip(worlds, generators, strict=True):
            drawn = np.array([generator.uniform(low, high) for low, high in self._ranges.values()])
            self._factors[world] = width * drawn + (1.0 - width)
        self._apply(worlds)

    def load_factors(self, state: Mapping[str, Array]) -> None:
        """Continue with saved factors; ValueError if they are of other parameters."""
        if set(state) != set(self._ranges):
            raise ValueError(f"`state` must come from worlds with random {list(self._ranges)}, got {list(state)}.")
        for column, name in enumerate(self._ranges):
            self._factors[:, column] = state[name]
        self._apply(np.arange(len(self._factors)))

    def _apply(self, worlds: NDArray[np.intp]) -> None:
        if self._ranges:
            changes = [list(map(ModelChange, self._ranges, self._factors[world])) for world in worlds]
            fields = [changed_fields(self._simulations.model, self._task_id, each) for each in changes]
            self._simulations.fields.apply(worlds, fields)


def changed_fields(model: mujoco.MjModel, env_id: str, changes: Sequence[ModelChange]) -> ModelFields:
    """Work out the fields that changes touch, each applied to the outcome of those before; the model stays nominal.

    An unknown part, an inadmissible value, or a change that can have no effect on the task raises ValueError.
    """
    refreshed: dict[str, Array] = {}
    raw: dict[str, Array] = {}
    for change in sorted(changes, key=lambda change: change.parameter in _RAW):
        target = raw if change.parameter in _RAW else refreshed
        rows = _rows(model, env_id, change)
        factor: float | Array = change.value
        for index, name in enumerate(MODEL_PARAMETERS[change.parameter].fields):
            values = raw.get(name, refreshed.get(name, nominal_field(model, name))).copy()
            columns = values.reshape(len(values), -1)
            if index == 0 and change.absolute:
                factor = _write_absolute(columns, rows, change)
            else:
                columns[rows] *= factor
            target[name] = values
    return ModelFields(refreshed, raw)


def edit_model(model: mujoco.MjModel, nominal: mujoco.MjModel, fields: ModelFields) -> None:
    """Give a model, in place, some fields that are not those of the nominal one, and all others as they are there."""
    for name in _array_names():
        np.copyto(getattr(model, name), getattr(nominal, name))
    model.opt.gravity[:] = nominal.opt.gravity
    for name in ("meaninertia", "meanmass", "meansize", "extent"):  # what `mj_setConst` writes beside arrays
        setattr(model.stat, name, getattr(nominal.stat, name))
    for name, value in fields.refreshed.items():
        _write(model, name, value)
    if fields.refreshed:
        mujoco.mj_setConst(model, mujoco.MjData(model))
    for name, value in fields.raw.items():
        _write(model, name, value)


def _write(model: mujoco.MjModel, name: str, value: Array) -> None:
    owner = model.opt if name.startswith("opt.") else model
    getattr(owner, name.removeprefix("opt."))[:] = value


def effective_physics(model: mujoco.MjModel, env_id: str) -> frozenset[str]:
    """Name the parameters of the whole model that change its motion: by the table of tasks, or else by the model."""
    known = TASK_BODIES[env_id].physics if env_id in TASK_BODIES else None
    if known is not None:
        return known
    touches = ((model.geom_contype != 0) | (model.geom_conaffinity != 0)).sum() > 1
    holds = {
        "mass": model.body_mass.any(),
        "friction": touches,
        "damping": model.dof_damping.any(),
        "gravity": np.any(model.opt.gravity),
        "gear": model.nu > 0 and model.actuator_gear.any(),
    }
    return frozenset(name for name, there in holds.items() if there)


def possible_parameters(model: mujoco.MjModel, env_id: str) -> list[str]:
    """List the keys of ``MODEL_PARAMETERS`` of which a factor has an effect."""
    effective, found = effective_physics(model, env_id), []
    for name, parameter in MODEL_PARAMETERS.items():
        if name == "floor_friction" and not has_floor(model):
            continue
        if (not parameter.requires or parameter.requires in effective) and nominal_field(
            model, parameter.fields[0]
        ).any():
            found.append(name)
    return found


def has_floor(model: mujoco.MjModel) -> bool:
    """Tell whether a model has a geom that is named as the ground."""
    return any(model.geom(index).name == FLOOR for index in range(model.ngeom))


def floor_note(model: mujoco.MjModel, env_id: str) -> str:
    """Say in one sentence when the friction of the floor of a task that touches it matters."""
    others = np.arange(model.ngeom) != model.geom(FLOOR).id
    largest, nominal = model.geom_friction[others, 0].max(), model.geom(FLOOR).friction[0]
    return (
        f"MuJoCo takes the larger friction of two geoms in contact: that of the floor of {env_id} alone, nominally "
        f"{nominal:g}, changes nothing under the feet below their own {largest:g}."
    )


def _rows(model: mujoco.MjModel, env_id: str, change: ModelChange) -> list[int]:
    """Find the rows of the parameter's fields that change, after checking that it makes sense."""
    parameter = MODEL_PARAMETERS[change.parameter]
    if parameter.requires and parameter.requires not in effective_physics(model, env_id):
        possible = ", ".join(possible_parameters(model, env_id))
        raise ValueError(f"`{change.parameter}` has no effect on {env_id}, whose physics can change in {possible}.")
    lowest = 0.0 if parameter.allows_zero and change.absolute else np.nextafter(0.0, 1.0)
    if not lowest <= change.value < np.inf:
        bound = "at least 0" if lowest == 0.0 else "positive"
        raise ValueError(f"`{change.parameter}` must be {bound} and finite, got {change.value}.")
    first = nominal_field(model, parameter.fields[0])
    rows = _part_rows(model, env_id, change) or list(range(len(first)))
    if not change.absolute and not first[rows].any():
        possible = ", ".join(possible_parameters(model, env_id))
        raise ValueError(
            f"`{change.parameter}` of {env_id} is nominally 0, so a factor has no effect on it; "
            f"its physics can change in {possible}."
        )
    return rows


def _part_rows(model: mujoco.MjModel, env_id: str, change: ModelChange) -> list[int]:
    kind = MODEL_PARAMETERS[change.parameter].parts
    if change.parameter == "floor_friction":
        if not has_floor(model):
            raise ValueError(f"`floor_friction` needs a geom named {FLOOR!r}, {env_id} has none.")
        return [int(model.geom(FLOOR).id)]
    if change.parts and not kind:
        raise ValueError(f"`{change.parameter}` has no parts, got {list(change.parts)}.")
    if change.absolute and kind == "body" and not change.parts:
        raise ValueError(f"`absolute {change.parameter}` must name bodies: no two have the same mass.")
    known = _part_names(model, kind) if change.parts else {}
    for part in change.parts:
        if part not in known:
            raise ValueError(f"`{change.parameter}` of {env_id} has the parts {sorted(known)}, got {part!r}.")
    return [known[part] for part in change.parts]


def _part_names(model: mujoco.MjModel, kind: str) -> dict[str, int]:
    """Map names of parts to rows of their fields."""
    if kind == "body":
        return {model.body(body).name: body for body in range(1, model.nbody)}
    if kind == "geom":
        return {model.geom(geom).name: geom for geom in range(model.ngeom) if model.geom(geom).name}
    if kind == "joint":
        return {model.joint(joint).name: int(model.jnt_dofadr[joint]) for joint in range(model.njnt)}
    # Most actuators of these models have no name, but each drives a joint.
    return {model.joint(model.actuator_trnid[index, 0]).name: index for index in range(model.nu)}


def _write_absolute(columns: Array, rows: list[int], change: ModelChange) -> Array:
    """Write an absolute value in place; return by which factor each row grew, for the fields that follow."""
    if change.parameter == "gravity":  # a vector: its length is the value
        factor = np.full((len(rows), 1), change.value / np.linalg.norm(columns))
        columns[rows] *= factor
        return factor
    before = columns[rows, :1].copy()
    columns[rows, 0] = change.value
    with np.errstate(divide="ignore", invalid="ignore"):  # of what was 0 there is no factor, nor a field that needs it
        return np.asarray(change.value / before)
