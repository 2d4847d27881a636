"""One door to all environments: native worlds where the task has a row, Gymnasium's vector environment elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.spaces import Box, Space
from gymnasium.vector import SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from rrl.envs.adversarial import HasAdversary
from rrl.envs.bodies import ADVERSARIAL_TASKS, AdversaryBodies
from rrl.envs.forces import ForceUnit, Pushes
from rrl.envs.gymnasium_worlds import GymnasiumRecipe, make_gymnasium
from rrl.envs.names import Wrappers, registered_id, require_registered
from rrl.envs.physics import Ranges
from rrl.envs.tasks import TASKS
from rrl.envs.vector import MuJoCoVectorEnv
from rrl.spaces import Spaces


def make_vec_env(
    env_id: str,
    num_envs: int,
    *,
    seed: int = 0,
    first_world: int = 0,
    max_episode_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Wrappers | None = None,
    pushes: Pushes | None = None,
    physics: Ranges | None = None,
    adversary: AdversaryBodies | None = None,
    force_limit: float | None = None,
    force_limit_unit: ForceUnit = "newtons",
) -> VectorEnv[Any, Any, Any]:
    """Make ``N`` environments that reset in the step in which an episode ends, with the settings of a data module.

    Infos hold ``final_obs`` ``[N, O]`` and ``_final_obs`` ``[N]`` whenever an episode ended. Where there is an
    adversary, ``step`` takes what ``adversary_forces`` makes of its action as a second argument.

    Environment ``i`` draws from streams of ``seed`` and ``first_world + i``. ``env_id`` may be ``module:id``, see
    :func:`~rrl.envs.names.registered_id`. ``pushes`` and ``physics`` are for native tasks only, ``wrappers`` for all
    others. ``adversary`` lets one push bodies of any MuJoCo environment; ``force_limit`` needs one, or a task that has
    one. ValueError if a setting is asked of an environment that cannot have it, the environment is unknown or has no
    time limit, or a space is not a flat box.
    """
    if is_native(env_id):
        if wrappers:
            raise ValueError(f"`wrappers` are for environments that Gymnasium steps; {env_id} is stepped natively.")
        return MuJoCoVectorEnv(
            registered_id(env_id),
            num_envs,
            seed=seed,
            first_world=first_world,
            max_episode_steps=max_episode_steps,
            env_kwargs=env_kwargs,
            pushes=pushes,
            physics=physics,
            adversary=adversary,
            force_limit=force_limit,
            force_limit_unit=force_limit_unit,
        )
    require_registered(env_id)
    if pushes is not None or physics:
        raise ValueError(f"`pushes` and `physics` need one of the tasks {sorted(TASKS)}, got {env_id!r}.")
    recipe = GymnasiumRecipe(
        env_id=env_id,
        max_episode_steps=max_episode_steps,
        env_kwargs=env_kwargs or {},
        wrappers=wrappers or {},
        adversary=adversary,
        force_limit=force_limit,
        force_limit_unit=force_limit_unit,
    )
    return make_gymnasium(recipe, num_envs, seed, first_world)


def is_native(env_id: str) -> bool:
    """Tell whether a task, with or without an adversary, has a row in ``TASKS``; its module is imported."""
    name = registered_id(env_id)
    row = ADVERSARIAL_TASKS.get(name)
    return (row.env_id if row else name) in TASKS


def nominal_limit(env_id: str, max_episode_steps: int | None) -> int | None:
    """Return the time limit of unchanged worlds: None for a task's own, or the given one where it has none."""
    if max_episode_steps is None or is_native(env_id):
        return None
    own = gymnasium.spec(require_registered(env_id)).max_episode_steps is not None
    return None if own else max_episode_steps


def flat_box(space: Space[Any]) -> Box:
    """Narrow the type of a space that :func:`make_vec_env` has checked already; TypeError if it is no box after all."""
    if not isinstance(space, Box):
        raise TypeError(f"`space` must be a Box, got {space}.")
    return space


def spaces_of(envs: VectorEnv[Any, Any, Any]) -> Spaces:
    """Read what an algorithm must know of worlds, without a horizon."""
    observations, actions = flat_box(envs.single_observation_space), flat_box(envs.single_action_space)
    task = envs.task if isinstance(envs, MuJoCoVectorEnv) else None
    box = task.healthy_box if task else None
    env = envs.unwrapped.envs[0].unwrapped if isinstance(envs.unwrapped, SyncVectorEnv) else envs
    seconds = getattr(env, "dt", None)  # simulated time of a step, where the environments tell it
    return Spaces(
        observations.shape[0],
        actions.shape[0],
        _floats(actions.low),
        _floats(actions.high),
        adversary_dim=envs.adversary_dim if isinstance(envs, HasAdversary) else 0,
        step_seconds=None if seconds is None else float(seconds),
        can_fail=task is None or task.terminates,  # where it is unknown, assume that episodes can
        healthy_low=_floats(box[0]) if box else None,
        healthy_high=_floats(box[1]) if box else None,
        can_restart=isinstance(envs, MuJoCoVectorEnv),
        action_dtype=str(actions.dtype),
    )


def _floats(bounds: NDArray[Any]) -> list[float]:
    return [float(bound) for bound in bounds]
