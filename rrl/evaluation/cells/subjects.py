"""What an environment can be put through: physics, noise and pushes that it has, and the list of them where not."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np

from rrl.envs import flat_box
from rrl.envs.bodies import ADVERSARIAL_TASKS, TASK_BODIES
from rrl.envs.forces import require_body, set_masses
from rrl.envs.gymnasium_worlds import find_wrapper, protagonist_space
from rrl.envs.make import is_native
from rrl.envs.names import registered_id
from rrl.envs.physics import MODEL_PARAMETERS, possible_parameters
from rrl.envs.task import Task
from rrl.envs.tasks import make_task
from rrl.evaluation.cells.conditions import NOISES, PUSHES, Condition
from rrl.evaluation.episodes import Trial


class Subject(NamedTuple):
    """An environment as far as conditions can change it."""

    env_id: str
    model: mujoco.MjModel | None
    """None for an environment that is not MuJoCo's."""
    pushed: int | None
    """Index of the body that is pushed; None where nobody has named one."""
    reset_noise_scale: float | None
    """Scale of the noise on the initial state; None where there is no such option."""
    is_bounded: bool
    """Whether the action box is finite."""
    time_limit: int

    @property
    def parameters(self) -> list[str]:
        """All that can be changed of it."""
        physics = [] if self.model is None else possible_parameters(self.model, self.env_id)
        missing = set() if self.is_bounded else {"action_noise"}
        missing |= {"reset_noise"} if self.reset_noise_scale is None else set()
        pushes = [] if self.pushed is None else PUSHES
        return [*physics, *(name for name in NOISES if name not in missing), *pushes]


def subject_of(trial: Trial) -> Subject:
    """Look at the environment of a trial; a ValueError names bodies of the trial that it does not have."""
    if is_native(trial.env_id):
        name = registered_id(trial.env_id)
        row = ADVERSARIAL_TASKS.get(name)
        task = make_task(row.env_id if row else name, trial.env_kwargs)
        model = mujoco.MjModel.from_xml_path(str(task.model_path))
        set_masses(model, row.masses if row else {})
        return subject_of_task(task, model, trial)
    env = trial.recipe.make()
    try:
        return subject_of_env(env, trial)
    finally:
        env.close()


def subject_of_task(task: Task, model: mujoco.MjModel, trial: Trial) -> Subject:
    """Look at a native task."""
    _require_attackable(model, trial)
    pushed = require_body(model, trial.push_body or TASK_BODIES[task.env_id].pushed, "push_body")
    limit = trial.max_episode_steps or task.max_episode_steps
    return Subject(task.env_id, model, pushed, getattr(task, "reset_noise_scale", None), True, limit)


def subject_of_env(env: gymnasium.Env[Any, Any], trial: Trial) -> Subject:
    """Look at an environment that Gymnasium steps."""
    simulator: Any = env.unwrapped
    model = getattr(simulator, "model", None)
    model = model if isinstance(model, mujoco.MjModel) and hasattr(simulator, "data") else None
    _require_attackable(model, trial)
    if trial.push_body is not None and model is None:
        raise ValueError(f"`push_body` needs a MuJoCo environment, got {trial.env_id}.")
    pushed = require_body(model, trial.push_body, "push_body") if model is not None and trial.push_body else None
    scale = getattr(simulator, "_reset_noise_scale", None)
    box = flat_box(protagonist_space(env))
    bounded = bool(np.isfinite([box.low, box.high]).all())
    limit = find_wrapper(env, gymnasium.wrappers.TimeLimit)
    scale = float(scale) if isinstance(scale, int | float) else None
    return Subject(trial.env_id, model, pushed, scale, bounded, int(limit._max_episode_steps) if limit else 0)


def _require_attackable(model: mujoco.MjModel | None, trial: Trial) -> None:
    if trial.adversary is None:
        return
    if model is None:
        raise ValueError(f"`adversary` needs a MuJoCo environment, got {trial.env_id}.")
    for name in trial.adversary.bodies:
        require_body(model, name, "bodies")


def require_possible(condition: Condition, subject: Subject) -> None:
    """Refuse a condition that an environment cannot have, with the list of what it can have; a ValueError."""
    for parameter, _ in condition.settings:
        name, possible = parameter.name, subject.parameters
        if name in PUSHES and subject.model is not None and subject.pushed is None:
            raise ValueError(f"`push_body` must name the body of {subject.env_id} that `{name}` acts on.")
        if name not in possible and (subject.model is None or name not in MODEL_PARAMETERS):
            raise ValueError(f"`{name}` has no effect on {subject.env_id}; it can have {', '.join(possible)}.")
    if subject.model is not None:
        condition.fields(subject.model, subject.env_id)
        condition.reset_noise_scale(subject)
