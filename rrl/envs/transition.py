"""One environment step of many worlds: the simulators advance, the task judges, instability ends an episode."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.envs.simulation import Simulations
from rrl.envs.tasks import Task

Array = NDArray[np.float64]


class Transition(NamedTuple):
    """What a step did to ``N`` worlds, before any of them resets."""

    observations: Array
    """Raw observations; of an unstable world the one before the step. Shape ``[N, O]``."""
    rewards: Array
    """Rewards; 0 where unstable. Shape ``[N]``."""
    terminated: NDArray[np.bool_]
    """True where the episode is over for good. Shape ``[N]``."""
    unstable: NDArray[np.bool_]
    """True where that is because the simulation became unstable. Shape ``[N]``."""
    x_velocities: Array
    """Mean change of the first position during the step, per second; 0 where unstable. Shape ``[N]``."""


def make_transition(
    simulations: Simulations,
    task: Task,
    actions: NDArray[Any],
    before: Array,
    *,
    worlds: NDArray[np.intp] | None = None,
) -> Transition:
    """Advance worlds by one environment step under the forces exerted on them.

    Args:
        simulations: The simulations.
        task: What the episodes are about.
        actions: Actuator controls. Shape ``[N, A]``.
        before: Observations before the step. Shape ``[N, O]``.
        worlds: Indices of the worlds that advance; ``None`` for all. The rows of the others mean nothing.

    Returns:
        The step.
    """
    views = simulations.worlds
    x_before = views.positions[:, 0].copy()
    unstable = simulations.advance(actions, task.frame_skip, worlds)
    with np.errstate(over="ignore", invalid="ignore"):  # an unstable world may hold infinities
        x_velocities = (views.positions[:, 0] - x_before) / (simulations.model.opt.timestep * task.frame_skip)
        observations = task.observe(views)
        rewards, terminated = task.outcome(views, actions, x_velocities)
    if unstable.any():
        observations[unstable] = before[unstable]
        x_velocities[unstable] = 0.0
        rewards, terminated = np.where(unstable, 0.0, rewards), terminated | unstable
    return Transition(observations, rewards, terminated, unstable, x_velocities)
