"""A model of one's own in the place of a task's: whether observation, reward and end of an episode still apply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rrl.checks import kind_of
from rrl.envs.simulation import Simulations
from rrl.envs.task import Task, make_transition

STEPS = 40
"""Enough for a fall, and for contacts."""
TOLERANCE = 1e-9


def require_equal_to_gymnasium(task: Task, options: Mapping[str, Any]) -> None:
    """Compare some steps of a task on its ``xml_file`` with Gymnasium's own environment of that file.

    ValueError if they differ, if Gymnasium cannot load the file, or if the task cannot.
    """
    path = task.model_path
    settings = json.dumps({**options, "xml_file": str(path)}, sort_keys=True)
    reason = _difference(type(task), settings, path.stat().st_mtime_ns)
    if reason:
        raise ValueError(
            f"`xml_file` {task.xml_file} does not fit {task.env_id}: {reason}. Register an environment or a task of "
            "your own for it."
        )


@cache
def _difference(task_class: type[Task], options: str, stamp: int) -> str:
    """Say what differs; nothing if nothing does. Files that have changed have another stamp."""
    settings = json.loads(options)
    try:
        env: Any = gymnasium.make(task_class.env_id, disable_env_checker=True, **settings).unwrapped
    except Exception as error:  # whatever the simulator or Gymnasium says of a file
        return f"Gymnasium cannot make it ({kind_of(error)})"
    try:
        return _compare(task_class(**settings), env)
    except Exception as error:  # parts that the task looks for are not there
        return f"the task cannot use it ({kind_of(error)})"
    finally:
        env.close()


def _compare(task: Task, env: Any) -> str:
    simulations = Simulations(task.model_path, 1, 1, fields=task.fields)
    world, rng = np.zeros(1, dtype=np.intp), np.random.default_rng(0)
    observation, ended = env.reset(seed=0)[0], True
    for _ in range(STEPS):
        if ended:
            observation = env.reset()[0]
            if observation.shape != env.observation_space.shape:
                return "it is observed in another way than Gymnasium declares"
            simulations.begin(world, env.data.qpos[None].copy(), env.data.qvel[None].copy())
            if not _alike(task.observe(simulations.worlds)[0], observation):
                return "it is observed in another way"
        action = rng.uniform(-1.0, 1.0, (1, simulations.model.nu)).astype(np.float32)
        before = task.observe(simulations.worlds)
        step = make_transition(simulations, task, action, before)
        observation, reward, ended, *_ = env.step(action[0])
        if not _alike(step.observations[0], observation):
            return "it is observed in another way"
        if not _alike(step.rewards[0], reward):
            return "it is rewarded in another way"
        if bool(step.terminated[0]) != bool(ended):
            return "its episodes end in another way"
    return ""


def _alike(ours: NDArray[Any] | float, theirs: NDArray[Any] | float) -> bool:
    return np.shape(ours) == np.shape(theirs) and bool(np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE))
