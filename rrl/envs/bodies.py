"""Which body of each task is pushed by default, and which physical parameters make a difference to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class TaskBodies(NamedTuple):
    """The parts of a task's model that disturbances act on."""

    pushed: str
    """Name of the body at whose centre of mass external forces act by default."""
    physics: frozenset[str]
    """Fields of :class:`~rrl.envs.physics.PhysicsFactors` that change the motion; scaling another would be a no-op."""


_ALL = frozenset({"mass", "friction", "damping", "gravity", "gear"})

TASK_BODIES: Mapping[str, TaskBodies] = {
    # The pendulums touch nothing; the swimmer and the arm move in the horizontal plane without contacts,
    # and the swimmer's joints are undamped.
    "InvertedPendulum-v5": TaskBodies("pole", _ALL - {"friction"}),
    "InvertedDoublePendulum-v5": TaskBodies("pole2", _ALL - {"friction"}),
    "Hopper-v5": TaskBodies("torso", _ALL),
    "Walker2d-v5": TaskBodies("torso", _ALL),
    "HalfCheetah-v5": TaskBodies("torso", _ALL),
    "Swimmer-v5": TaskBodies("torso", frozenset({"mass", "gear"})),
    "Reacher-v5": TaskBodies("fingertip", frozenset({"mass", "damping", "gear"})),
}
