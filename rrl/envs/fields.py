"""Fields of the model that differ between worlds: always written from nominal values, so nothing compounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ModelFields:
    """Whole fields of a model that are not nominal, by MuJoCo's names; those of ``MjOption`` begin with ``opt.``."""

    refreshed: Mapping[str, Array] = field(default_factory=dict)
    """Fields with which the constants that derive from them (subtree masses, inverse weights) are computed anew."""
    raw: Mapping[str, Array] = field(default_factory=dict)
    """Fields written after that, so that no constant follows them."""


class WorldFields:
    """The model fields that the worlds of a batch have now.

    Args:
        batch: The simulations.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._nominal: dict[str, Array] = {}
        self._present: list[ModelFields | None] = [None] * batch.nsim

    def apply(self, worlds: NDArray[np.intp], fields: Sequence[ModelFields]) -> None:
        """Give some worlds new fields; whatever is not named becomes nominal again, and states stay.

        Args:
            worlds: Indices of the worlds.
            fields: Those of each of them, in their order.
        """
        pairs = zip(worlds, fields, strict=True)
        changed = [(world, new) for world, new in pairs if self._present[world] is not new]
        for name in {name for _, new in changed for name in (*new.refreshed, *new.raw)}:
            self._nominal.setdefault(name, nominal_field(self._batch.model, name))
        if not changed or not self._nominal:
            return
        for world, new in changed:
            self._write(world, self._nominal | dict(new.refreshed))
            self._present[world] = new
        self._refresh_constants(np.array([world for world, _ in changed]))
        for world, new in changed:
            self._write(world, new.raw)

    def _write(self, world: int, values: Mapping[str, Array]) -> None:
        for name, value in values.items():
            self._batch.expand(name)[world] = value

    def _refresh_constants(self, worlds: NDArray[np.intp]) -> None:
        """Let the constants that derive from masses follow them."""
        states = self._batch.state[worlds]  # mj_setConst may move the state, so keep it
        self._batch.set_const(worlds)
        self._batch.state[worlds] = states


def nominal_field(model: mujoco.MjModel, name: str) -> Array:
    """Copy a field of a model, by MuJoCo's name."""
    owner = model.opt if name.startswith("opt.") else model
    return np.array(getattr(owner, name.removeprefix("opt.")))
