"""The simulations behind the worlds: one model, one row of state per world, stepped on native threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from rrl.envs.fields import WorldFields
from rrl.envs.forces import require_body, set_masses

Array = NDArray[np.float64]

# After these warnings MuJoCo silently resets the simulation inside the step: what follows is another episode.
_WARNINGS = mujoco.mjtWarning
_UNSTABLE = [int(warning) for warning in (_WARNINGS.mjWARN_BADQPOS, _WARNINGS.mjWARN_BADQVEL, _WARNINGS.mjWARN_BADQACC)]


class Worlds(NamedTuple):
    """Live views of the simulator's arrays, one row per world."""

    positions: Array
    """Generalised positions ``qpos``. Shape ``[N, nq]``."""
    velocities: Array
    """Generalised velocities ``qvel``. Shape ``[N, nv]``."""
    body_positions: Array
    """World-frame origins of the bodies, metres. Shape ``[N, bodies, 3]``."""
    site_positions: Array
    """World-frame positions of the sites, metres. Shape ``[N, sites, 3]``."""
    constraint_forces: Array
    """Generalised constraint forces ``qfrc_constraint``. Shape ``[N, nv]``."""


class Simulations:
    """``N`` simulations of one model, which know nothing of tasks, episodes or randomness.

    Args:
        model_path: The MuJoCo model.
        num_worlds: Number of simulations, ``N``.
        num_threads: Native threads that share them; results do not depend on it.
        masses: Absolute masses of bodies, kilograms; those of the model file where not named.
    """

    def __init__(
        self, model_path: Path, num_worlds: int, num_threads: int, *, masses: Mapping[str, float] | None = None
    ) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(model_path))
        set_masses(self.model, masses or {})
        data = mujoco.MjData(self.model)
        self.initial_state: tuple[Array, Array] = (data.qpos.copy(), data.qvel.copy())
        """Positions ``[nq]`` and velocities ``[nv]`` of the model file."""
        self._batch = batch = Batch(self.model, num_worlds, num_threads)
        self.worlds = Worlds(*(batch.bind(name) for name in ("qpos", "qvel", "xpos", "site_xpos", "qfrc_constraint")))
        """Live views of positions, velocities and what follows from them."""
        self.fields = WorldFields(batch)
        """Model fields by world."""
        self._controls, self._forces = batch.bind("ctrl"), batch.bind("xfrc_applied")

    def body_id(self, name: str) -> int:
        """Find a body by its name; one that the model does not have raises ValueError."""
        return require_body(self.model, name, "bodies")

    def begin(self, worlds: NDArray[np.intp], positions: Array, velocities: Array) -> None:
        """Put some worlds in given states at time zero, without forces or controls.

        Args:
            worlds: Indices of ``E`` worlds.
            positions: Generalised positions. Shape ``[E, nq]``.
            velocities: Generalised velocities. Shape ``[E, nv]``.
        """
        self._batch.reset(worlds, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self.worlds.positions[worlds], self.worlds.velocities[worlds] = positions, velocities
        self._batch.forward(worlds)

    def advance(
        self, controls: NDArray[np.floating], num_steps: int, worlds: NDArray[np.intp] | None = None
    ) -> NDArray[np.bool_]:
        """Advance worlds under constant controls and the forces exerted before, which end with it.

        Args:
            controls: Actuator controls; MuJoCo clips them to their ranges. Shape ``[N, A]``.
            num_steps: Steps of the simulator.
            worlds: Indices of the worlds that advance; ``None`` for all.

        Returns:
            True where a simulation became unstable: MuJoCo reset it on its own, or its last state is not finite. Such
            a world must begin anew. Shape ``[N]``.
        """
        self._controls[:] = controls
        self._batch.warning[:] = 0
        self._batch.step(worlds, nstep=num_steps)
        self._forces[:] = 0.0
        warned = self._batch.warning[:, _UNSTABLE, 1].any(axis=1)
        finite = [np.isfinite(state).all(axis=1) for state in (self.worlds.positions, self.worlds.velocities)]
        return np.asarray(warned | ~(finite[0] & finite[1]))

    def exert(self, bodies: Sequence[int], forces: Array) -> None:
        """Add forces for the next :meth:`advance`.

        Args:
            bodies: Indices of ``K`` different bodies, at whose centres of mass the forces act.
            forces: World-frame forces, newtons. Shape ``[N, K, 3]``.
        """
        self._forces[:, bodies, :3] += forces

    @property
    def state(self) -> Array:
        """Live view of all that the simulators' future depends on, besides physics. One row per world."""
        return np.asarray(self._batch.state)
