"""Which bodies are pushed, by chance and by an adversary, and which physical parameters make a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

AXES = "xyz"
"""Names of the world's axes, in the order of a force's components."""


FORCE_LIMIT = 5.0
"""Largest force of an adversary along an axis, newtons, where nothing else is said; as in RARL."""


class TaskBodies(NamedTuple):
    """The parts of a task's model that disturbances act on."""

    pushed: str
    """Name of the body at whose centre of mass external forces act by default."""
    physics: frozenset[str] | None
    """Parameters of the whole model that change the motion when they are scaled; scaling another would be a no-op. None
    where that is read off the model."""


_ALL = frozenset({"mass", "friction", "damping", "gravity", "gear"})

TASK_BODIES: dict[str, TaskBodies] = {
    # The pendulums touch nothing; the swimmer and the arm move in the horizontal plane without contacts,
    # and the swimmer's joints are undamped.
    "InvertedPendulum-v5": TaskBodies("pole", _ALL - {"friction"}),
    "InvertedDoublePendulum-v5": TaskBodies("pole2", _ALL - {"friction"}),
    "Hopper-v5": TaskBodies("torso", _ALL),
    "Walker2d-v5": TaskBodies("torso", _ALL),
    "HalfCheetah-v5": TaskBodies("torso", _ALL),
    "Swimmer-v5": TaskBodies("torso", frozenset({"mass", "gear"})),
    "Reacher-v5": TaskBodies("fingertip", frozenset({"mass", "damping", "gear"})),
    "Ant-v5": TaskBodies("torso", _ALL),
    "Humanoid-v5": TaskBodies("torso", _ALL),
    "HumanoidStandup-v5": TaskBodies("torso", _ALL),
    # Nothing weighs in it, and its contacts are without friction.
    "Pusher-v5": TaskBodies("tips_arm", frozenset({"mass", "damping", "gear"})),
}


@dataclass(frozen=True, kw_only=True)
class AdversaryBodies:
    """Where an adversary pushes."""

    bodies: Sequence[str]
    """Names of the bodies at whose centres of mass it does, each once."""
    axes: str = "xz"
    """World axes along which it pushes, different letters of ``xyz``; each body has one adversary action an axis."""

    def __post_init__(self) -> None:
        if isinstance(self.bodies, str) or not self.bodies or len(set(self.bodies)) < len(self.bodies):
            raise ValueError(f"`bodies` must name at least one body, each once, got {self.bodies!r}.")
        if not self.axes or not set(self.axes) <= set(AXES) or len(set(self.axes)) < len(self.axes):
            raise ValueError(f"`axes` must be different letters of {AXES!r}, got {self.axes!r}.")

    @property
    def dim(self) -> int:
        """Size of the adversary's action, ``F``."""
        return len(self.bodies) * len(self.axes)


class AdversarialTask(NamedTuple):
    """A task with an adversary that exerts forces on some bodies of the model."""

    env_id: str
    """The task without the adversary."""
    bodies: tuple[str, ...]
    """Names of the bodies at whose centres of mass the adversary pushes."""
    axes: str = "xz"
    """World axes along which it pushes; each body has one adversary action an axis, in this order."""
    masses: Mapping[str, float] = MappingProxyType({})
    """Absolute masses of bodies, kilograms. Inertia stays nominal, as in the tasks of the RARL paper."""
    force_limit: float = FORCE_LIMIT
    """Largest force along an axis, newtons."""

    @property
    def adversary(self) -> AdversaryBodies:
        """Where the adversary pushes."""
        return AdversaryBodies(bodies=self.bodies, axes=self.axes)


_TORSO_6KG = {"torso": 6.0}

# The force tables of RARL. Its own paper uses InvertedPendulum, HalfCheetahTorso, Swimmer, HopperHeel and Walker2dHeel.
# The planar robots cannot feel a force along y; the swimmer lies in the x-y plane and cannot feel one along z.
ADVERSARIAL_TASKS: Mapping[str, AdversarialTask] = {
    "rrl/InvertedPendulumAdv-v1": AdversarialTask("InvertedPendulum-v5", ("pole",)),
    "rrl/InvertedDoublePendulumAdv-v1": AdversarialTask("InvertedDoublePendulum-v5", ("pole2",)),
    "rrl/HopperAdv-v1": AdversarialTask("Hopper-v5", ("torso",)),
    "rrl/Hopper6Adv-v1": AdversarialTask("Hopper-v5", ("torso",), masses=_TORSO_6KG),
    "rrl/HopperHeelAdv-v1": AdversarialTask("Hopper-v5", ("foot",)),
    "rrl/HopperHeel6Adv-v1": AdversarialTask("Hopper-v5", ("foot",), masses=_TORSO_6KG),
    "rrl/HopperTorso6Adv-v1": AdversarialTask("Hopper-v5", ("foot", "torso"), masses=_TORSO_6KG),
    "rrl/HalfCheetahAdv-v1": AdversarialTask("HalfCheetah-v5", ("torso",)),
    "rrl/HalfCheetahHeelAdv-v1": AdversarialTask("HalfCheetah-v5", ("bfoot", "ffoot")),
    "rrl/HalfCheetahTorsoAdv-v1": AdversarialTask("HalfCheetah-v5", ("torso", "bfoot", "ffoot")),
    "rrl/SwimmerAdv-v1": AdversarialTask("Swimmer-v5", ("torso",), axes="xyz"),
    "rrl/Walker2dAdv-v1": AdversarialTask("Walker2d-v5", ("torso",)),
    "rrl/Walker2dHeelAdv-v1": AdversarialTask("Walker2d-v5", ("foot", "foot_left")),
    "rrl/Walker2dTorsoAdv-v1": AdversarialTask("Walker2d-v5", ("foot", "foot_left", "torso")),
    "rrl/AntAdv-v1": AdversarialTask("Ant-v5", ("torso",), axes="xyz"),
    "rrl/HumanoidAdv-v1": AdversarialTask("Humanoid-v5", ("torso",), axes="xyz", force_limit=10.0),
    # RARL's code has none; as in RRLS.
    "rrl/HumanoidStandupAdv-v1": AdversarialTask(
        "HumanoidStandup-v5", ("torso", "right_thigh", "left_foot"), axes="xy", force_limit=3.0
    ),
}
