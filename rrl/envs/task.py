"""What an episode is about, and one environment step: the simulators advance, the task judges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import expand_model_path
from numpy.typing import NDArray

from rrl.envs.simulation import Simulations, Worlds

Array = NDArray[np.float64]


class Outcome(NamedTuple):
    """Rewards ``[N]`` of a step of all worlds, and True where the task ends the episode for good ``[N]``."""

    rewards: Array
    terminated: NDArray[np.bool_]


class Transition(NamedTuple):
    """What a step did to ``N`` worlds, before any of them resets."""

    observations: Array
    """Raw observations; of an unstable world the one before the step. Shape ``[N, O]``."""
    rewards: Array
    """0 where unstable. Shape ``[N]``."""
    terminated: NDArray[np.bool_]
    unstable: NDArray[np.bool_]
    """True where the episode is over for good because the simulation became unstable. Shape ``[N]``."""
    x_velocities: Array
    """Mean change of the first position during the step, per second; 0 where unstable. Shape ``[N]``."""


@cache
def _sizes_of(path: Path) -> tuple[int, int]:
    model = mujoco.MjModel.from_xml_path(str(path))
    return model.nq, model.nv


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What an episode is about, for many worlds at once. An instance is a set of options; it holds no simulation.

    A task of your own is a frozen, keyword-only dataclass below this one whose fields are its options; the methods are
    NumPy over ``N`` worlds. :func:`~rrl.envs.register.register_task` makes it usable wherever a shipped task is.
    """

    env_id: ClassVar[str]
    """Name by which it is made, as Gymnasium's: ``mine/Robot-v0``."""
    model_file: ClassVar[str]
    """Path of its MJCF file; a relative one lies among the models of the installed Gymnasium."""
    pushed: ClassVar[str] = ""
    """Name of the body on whose centre of mass pushes act. Of Gymnasium's tasks: ``rrl.envs.bodies.TASK_BODIES``."""
    max_episode_steps: ClassVar[int] = 1000
    moves: ClassVar[bool] = False
    """True where progress along the world's x axis is what is rewarded, see :meth:`forward_positions`."""
    fields: ClassVar[tuple[str, ...]] = ()
    """Further arrays of the simulator that it reads as ``worlds.more[name]``, by the names of ``mjData``."""

    frame_skip: int
    """Steps of the simulator in one step of the environment."""
    xml_file: str | None = None
    """Another model, as Gymnasium takes it; observation, reward and end of an episode must still apply to it."""

    @property
    def model_path(self) -> Path:
        """The file of the model, among Gymnasium's own or in the working folder.

        ValueError if it is in neither, or a bare name in both: Gymnasium would take its own.
        """
        name = self.xml_file or self.model_file
        here = Path(name)
        try:
            path = Path(expand_model_path(name)).absolute()
        except OSError as error:
            if here.is_file():
                return here.absolute()
            raise ValueError(f"`xml_file` of {self.env_id} must exist, got {name}.") from error
        if self.xml_file and here.is_file() and not here.samefile(path):
            raise ValueError(
                f"`xml_file` {name} is Gymnasium's model and a file of the working folder; write ./{name} for yours."
            )
        return path

    @property
    def sizes(self) -> tuple[int, int]:
        """Generalised positions and velocities of the model, ``nq`` and ``nv``."""
        return _sizes_of(self.model_path)

    def forward_positions(self, worlds: Worlds) -> Array:
        """Return how far along x the worlds are, metres. Shape ``[N]``."""
        return worlds.positions[:, 0].copy()

    @property
    def healthy_box(self) -> tuple[Array, Array] | None:
        """Open bounds, below and above, that hold a healthy observation; None without. Shapes ``[O]``."""
        return None

    @property
    def terminates(self) -> bool:
        """True where an episode can end before its time limit."""
        return self.healthy_box is not None

    @abstractmethod
    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Draw positions ``[nq]`` and velocities ``[nv]`` at the start of an episode, given those of the model file."""

    @abstractmethod
    def observe(self, worlds: Worlds) -> Array:
        """Return the raw observations of all worlds, a fresh array. Shape ``[N, O]``."""

    @abstractmethod
    def outcome(self, worlds: Worlds, actions: NDArray[Any], x_velocities: Array) -> Outcome:
        """Judge the step that led to the present ``worlds``.

        Actions ``[N, A]`` are as given, not clipped. Velocities ``[N]`` are the mean change of
        :meth:`forward_positions` during the step, per second.
        """


@dataclass(frozen=True, kw_only=True)
class NoisyTask(Task):
    """A task that begins near the state of the model file."""

    normal_velocities: ClassVar[bool] = False
    """Whether the noise on the velocities is normal; that on the positions is always uniform."""

    reset_noise_scale: float

    def initial_state(self, positions: Array, velocities: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Add noise to the state of the model file."""
        scale = self.reset_noise_scale
        positions = positions + generator.uniform(-scale, scale, size=positions.shape)
        if self.normal_velocities:
            return positions, velocities + scale * generator.standard_normal(velocities.shape)
        return positions, velocities + generator.uniform(-scale, scale, size=velocities.shape)


def make_transition(
    simulations: Simulations,
    task: Task,
    actions: NDArray[Any],
    before: Array,
    worlds: NDArray[np.intp] | None = None,
    x_before: Array | None = None,
) -> Transition:
    """Advance ``worlds``, all where None, by one step under actions ``[N, A]``; the rows of the others mean nothing.

    ``x_before`` are the :meth:`Task.forward_positions` of the step before, for worlds whose state has just been loaded.
    """
    views = simulations.worlds
    x_before = task.forward_positions(views) if x_before is None else x_before
    unstable = simulations.advance(actions, task.frame_skip, worlds)
    with np.errstate(over="ignore", invalid="ignore"):  # an unstable world may hold infinities
        x_velocities = (task.forward_positions(views) - x_before) / (simulations.model.opt.timestep * task.frame_skip)
        observations = task.observe(views)
        rewards, terminated = task.outcome(views, actions, x_velocities)
    if unstable.any():
        observations[unstable] = before[unstable]
        x_velocities[unstable] = 0.0
        rewards, terminated = np.where(unstable, 0.0, rewards), terminated | unstable
    return Transition(observations, rewards, terminated, unstable, x_velocities)
