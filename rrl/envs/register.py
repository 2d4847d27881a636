"""Tasks of one's own, at the speed of the shipped ones."""

from __future__ import annotations

from pathlib import Path

import gymnasium

from rrl.envs.bodies import TASK_BODIES, TaskBodies
from rrl.envs.task import Task
from rrl.envs.tasks import SHIPPED, TASKS


def register_task(task: type[Task]) -> type[Task]:
    """Make a task usable wherever a shipped one is; to be called, or put above the class, in the module that has it.

    Its ``env_id`` then stands for it in training, evaluation, suites and attacks, from other processes as
    ``module:env_id``; ``gymnasium.make`` makes a single world of it. ValueError if the name is a shipped task's, or
    the class lacks something.
    """
    for name in ("env_id", "model_file", "pushed"):
        if not getattr(task, name, ""):
            raise ValueError(f"`{name}` of the task {task.__name__} must be given.")
    if TASKS.get(task.env_id) in SHIPPED:
        raise ValueError(f"`env_id` of the task {task.__name__} must not be that of a shipped task, got {task.env_id}.")
    if not Path(task.model_file).is_absolute():
        raise ValueError(f"`model_file` of the task {task.__name__} must be an absolute path, got {task.model_file}.")
    TASKS[task.env_id] = task
    TASK_BODIES[task.env_id] = TaskBodies(task.pushed, None)
    gymnasium.registry.pop(task.env_id, None)  # a module that is read anew
    gymnasium.register(
        task.env_id,
        entry_point="rrl.envs.single_world:SingleWorld",
        max_episode_steps=task.max_episode_steps,
        kwargs={"env_id": task.env_id},
    )
    return task
