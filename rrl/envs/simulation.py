"""The simulations behind the worlds: one row of state per world, stepped on native threads.

Model fields that differ between worlds are always written from nominal values, so nothing compounds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from rrl.envs.forces import require_body, set_masses

Array = NDArray[np.float64]

# After these warnings MuJoCo silently resets the simulation inside the step: what follows is another episode.
_WARNINGS = mujoco.mjtWarning
_UNSTABLE = [int(warning) for warning in (_WARNINGS.mjWARN_BADQPOS, _WARNINGS.mjWARN_BADQVEL, _WARNINGS.mjWARN_BADQACC)]


@dataclass(frozen=True, eq=False)
class ModelFields:
    """Whole fields of a model that are not nominal, by MuJoCo's names; those of ``MjOption`` begin with ``opt.``."""

    refreshed: Mapping[str, Array] = field(default_factory=dict)
    """Fields with which the constants that derive from them (subtree masses, inverse weights) are computed anew."""
    raw: Mapping[str, Array] = field(default_factory=dict)
    """Fields written after that, so that no constant follows them."""


class WorldFields:
    """The model fields that the worlds of a batch have now."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._nominal: dict[str, Array] = {}
        self._present: list[ModelFields | None] = [None] * batch.nsim

    def apply(self, worlds: NDArray[np.intp], fields: Sequence[ModelFields]) -> None:
        """Give each of some worlds new fields; whatever is not named becomes nominal again, and states stay."""
        pairs = zip(worlds, fields, strict=True)
        changed = [(world, new) for world, new in pairs if self._present[world] is not new]
        for name in {name for _, new in changed for name in (*new.refreshed, *new.raw)}:
            self._nominal.setdefault(name, nominal_field(self._batch.model, name))
        if not changed or not self._nominal:
            return
        for world, new in changed:
            self._write(world, self._nominal | dict(new.refreshed))
            self._present[world] = new
        touched = np.array([world for world, _ in changed])
        states = self._batch.state[touched]  # mj_setConst may move the state, so keep it
        self._batch.set_const(touched)
        self._batch.state[touched] = states
        for world, new in changed:
            self._write(world, new.raw)

    def _write(self, world: int, values: Mapping[str, Array]) -> None:
        for name, value in values.items():
            self._batch.expand(name)[world] = value


def nominal_field(model: mujoco.MjModel, name: str) -> Array:
    """Copy a field of a model, by MuJoCo's name."""
    owner = model.opt if name.startswith("opt.") else model
    return np.array(getattr(owner, name.removeprefix("opt.")))


def available_cores() -> int:
    """Count the processor cores that this process may use; where the system does not tell, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


CONTACTS = "cfrc_ext"
"""Forces and torques that act on the bodies from outside, by the name of ``mjData``."""


class Worlds(NamedTuple):
    """Live views of the simulator's arrays, one row per world.

    Generalised positions ``[N, nq]`` and velocities ``[N, nv]``; positions of bodies and sites in the world's frame,
    metres, ``[N, bodies, 3]`` and ``[N, sites, 3]``; generalised constraint forces ``[N, nv]``; what a task names more.
    As in Gymnasium, all but positions and velocities are those before the last step of the simulator.
    """

    positions: Array
    velocities: Array
    body_positions: Array
    site_positions: Array
    constraint_forces: Array
    more: Mapping[str, Array] = MappingProxyType({})
    """Further arrays by the names of ``mjData`` (or ``body_mass``), ``[N, ...]``: those in ``Task.fields``."""


class Simulations:
    """``N`` simulations of one model, which know nothing of tasks, episodes or randomness.

    Results do not depend on the number of native threads. Absolute ``masses`` of bodies, kilograms, replace those of
    the model file. ``fields`` are those of :class:`~rrl.envs.task.Task`.
    """

    def __init__(
        self,
        model_path: Path,
        num_worlds: int,
        num_threads: int,
        *,
        masses: Mapping[str, float] | None = None,
        fields: Sequence[str] = (),
    ) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(model_path))
        set_masses(self.model, masses or {})
        data = mujoco.MjData(self.model)
        self.initial_state: tuple[Array, Array] = (data.qpos.copy(), data.qvel.copy())
        """Positions ``[nq]`` and velocities ``[nv]`` of the model file."""
        # Forces of contacts are no outputs of a batch: they are computed from whole copies of the simulations.
        self._contacts = np.zeros((num_worlds, self.model.nbody, 6)) if CONTACTS in fields else None
        self._copy = data
        self._batch = batch = Batch(self.model, num_worlds, num_threads, persistent=self._contacts is not None)
        bound = (batch.bind(name) for name in ("qpos", "qvel", "xpos", "site_xpos", "qfrc_constraint"))
        self.worlds = Worlds(*bound)._replace(more={name: self._bind(name) for name in fields})
        self.fields = WorldFields(batch)
        self._controls, self._forces = batch.bind("ctrl"), batch.bind("xfrc_applied")

    def begin(self, worlds: NDArray[np.intp], positions: Array, velocities: Array) -> None:
        """Put ``E`` worlds in given states ``[E, nq]``, ``[E, nv]`` at time zero, without forces or controls."""
        self._batch.reset(worlds, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self.worlds.positions[worlds], self.worlds.velocities[worlds] = positions, velocities
        self._batch.forward(worlds)
        if self._contacts is not None:
            self._contacts[worlds] = 0.0

    def advance(
        self, controls: NDArray[np.floating], num_steps: int, worlds: NDArray[np.intp] | None = None
    ) -> NDArray[np.bool_]:
        """Advance worlds, all where None, under constant controls ``[N, A]`` and forces, which end with it.

        MuJoCo clips the controls to their ranges. Returns True where a simulation became unstable: MuJoCo reset it on
        its own, or its last state is not finite. Such a world must begin anew. Shape ``[N]``.
        """
        self._controls[:] = controls
        self._batch.warning[:] = 0
        self._batch.step(worlds, nstep=num_steps)
        if self._contacts is not None:
            self._compute_contacts(range(len(self._contacts)) if worlds is None else worlds)
        self._forces[:] = 0.0
        warned = self._batch.warning[:, _UNSTABLE, 1].any(axis=1)
        finite = [np.isfinite(state).all(axis=1) for state in (self.worlds.positions, self.worlds.velocities)]
        return np.asarray(warned | ~(finite[0] & finite[1]))

    def _bind(self, name: str) -> Array:
        if name == CONTACTS and self._contacts is not None:
            return self._contacts
        if name == "body_mass":
            return np.asarray(self._batch.expand(name))
        try:
            return np.asarray(self._batch.bind(name))
        except Exception as error:  # whatever the simulator says of a name
            raise ValueError(f"`fields` of a task must name arrays of mjData, got {name!r}.") from error

    def _compute_contacts(self, worlds: Iterable[int]) -> None:
        for world in worlds:
            self._batch.get_data(world, self._copy)
            mujoco.mj_rnePostConstraint(self.model, self._copy)
            self._contacts[world] = self._copy.cfrc_ext  # type: ignore[index]  # there is one where this is called

    def exert(self, bodies: Sequence[int], forces: Array) -> None:
        """Add forces ``[N, K, 3]``, newtons, at the centres of mass of ``K`` bodies for the next :meth:`advance`."""
        self._forces[:, bodies, :3] += forces

    def body_id(self, name: str) -> int:
        """Find a body by its name; one that the model does not have raises ValueError."""
        return require_body(self.model, name, "bodies")

    @property
    def state(self) -> Array:
        """Live view of all that the simulators' future depends on, besides physics. One row per world."""
        return np.asarray(self._batch.state)
