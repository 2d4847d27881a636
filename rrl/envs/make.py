"""One door to all environments: native worlds where the task has a row, Gymnasium's vector environment elsewhere."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Space
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import TransformObservation
from numpy.typing import NDArray

from rrl.envs.adversarial import ADVERSARY, PROTAGONIST, AdversarialWorlds, HasAdversary
from rrl.envs.bodies import ADVERSARIAL_TASKS
from rrl.envs.forces import ForceUnit, Pushes
from rrl.envs.physics import Ranges
from rrl.envs.tasks import TASKS
from rrl.envs.vector import MuJoCoVectorEnv
from rrl.random_streams import Purpose, derived_seed
from rrl.spaces import Spaces


def make_vec_env(
    env_id: str,
    num_envs: int,
    *,
    seed: int = 0,
    first_world: int = 0,
    max_episode_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    pushes: Pushes | None = None,
    physics: Ranges | None = None,
    force_limit: float | None = None,
    force_limit_unit: ForceUnit = "newtons",
) -> VectorEnv[Any, Any, Any]:
    """Make ``N`` environments that reset in the step in which an episode ends, with the settings of a data module.

    Infos hold ``final_obs`` ``[N, O]`` and ``_final_obs`` ``[N]`` whenever an episode ended. Where there is an
    adversary, ``step`` takes what ``adversary_forces`` makes of its action as a second argument.

    Environment ``i`` draws from streams of ``seed`` and ``first_world + i``. ``pushes`` and ``physics`` are for native
    tasks only, ``force_limit`` for the adversarial tasks of this package; environments of the user's own have it in
    their constructor. ValueError if a setting is asked of an environment that cannot have it, the environment is
    unknown, or a space is not a flat box.
    """
    if is_native(env_id):
        return MuJoCoVectorEnv(
            env_id,
            num_envs,
            seed=seed,
            first_world=first_world,
            max_episode_steps=max_episode_steps,
            env_kwargs=env_kwargs,
            pushes=pushes,
            physics=physics,
            force_limit=force_limit,
            force_limit_unit=force_limit_unit,
        )
    try:
        gymnasium.spec(env_id)
    except gymnasium.error.Error as error:
        close = difflib.get_close_matches(env_id, [*TASKS, *gymnasium.registry], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"`env_id` must be a registered environment, got {env_id!r}{hint}") from error
    if pushes is not None or physics:
        raise ValueError(f"`pushes` and `physics` need one of the tasks {sorted(TASKS)}, got {env_id!r}.")
    options = dict(env_kwargs or {})
    if force_limit is not None:
        if env_id not in ADVERSARIAL_TASKS:
            raise ValueError(f"`force_limit` needs one of the tasks {sorted(ADVERSARIAL_TASKS)}, got {env_id!r}.")
        options |= {"force_limit": force_limit, "force_limit_unit": force_limit_unit}
    return make_gymnasium(env_id, num_envs, seed, first_world, {"max_episode_steps": max_episode_steps, **options})


def is_native(env_id: str) -> bool:
    """Tell whether a task, with or without an adversary, has a row in ``TASKS``."""
    row = ADVERSARIAL_TASKS.get(env_id)
    return (row.env_id if row else env_id) in TASKS


def make_gymnasium(
    env_id: str, num_envs: int, seed: int, first_world: int, options: Mapping[str, Any]
) -> VectorEnv[Any, Any, Any]:
    """Make Gymnasium's own environments with the interface of the native ones, see :func:`make_vec_env`."""

    def make_one() -> gymnasium.Env[Any, Any]:
        env = gymnasium.make(env_id, **options)
        # Copies, since an environment may write every observation to one array, also the first of the next episode.
        return TransformObservation(env, np.copy, env.observation_space)

    envs = SyncVectorEnv([make_one] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    wrapped: VectorEnv[Any, Any, Any] = SeededWorlds(envs, seed, first_world)
    both = envs.single_action_space
    if isinstance(both, Dict) and set(both) == {PROTAGONIST, ADVERSARY}:
        wrapped = AdversarialWorlds(wrapped)
    for name, space in (("observation", wrapped.single_observation_space), ("action", wrapped.single_action_space)):
        if not isinstance(space, Box) or len(space.shape) != 1:
            envs.close()
            raise ValueError(f"The {name} space of {env_id} must be a flat Box, got {space}.")
    return wrapped


def flat_box(space: Space[Any]) -> Box:
    """Narrow the type of a space that :func:`make_vec_env` has checked already; TypeError if it is no box after all."""
    if not isinstance(space, Box):
        raise TypeError(f"`space` must be a Box, got {space}.")
    return space


class SeededWorlds(VectorWrapper[Any, Any, Any]):
    """Environments that reset in the same step, with the seeds and the infos of the native ones."""

    def __init__(self, env: VectorEnv[Any, Any, Any], seed: int, first_world: int) -> None:
        super().__init__(env)
        self._first_world = first_world
        self._next_seed: int | None = seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a new episode everywhere; a seed seeds the streams anew, ``None`` lets them go on."""
        seed = self._next_seed if seed is None else seed
        self._next_seed = None
        if seed is None:
            return self.env.reset(options=options)
        worlds = range(self._first_world, self._first_world + self.num_envs)
        # Seeds that follow each other would give world 1 of seed 0 what world 0 of seed 1 has.
        seeds: Any = [derived_seed(Purpose.GYMNASIUM_WORLD, seed, world, bits=31) for world in worlds]
        return self.env.reset(seed=seeds, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Advance all environments, see :meth:`rrl.envs.vector.MuJoCoVectorEnv.step`."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        if "final_obs" in infos:
            # Gymnasium gives an array of objects; where no episode ended there is nothing but the observation itself.
            final = np.array(observations)
            ended = infos["_final_obs"]
            final[ended] = np.stack(list(infos["final_obs"][ended]))
            infos["final_obs"] = final
        return observations, rewards, terminated, truncated, infos


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
    )


def _floats(bounds: NDArray[Any]) -> list[float]:
    return [float(bound) for bound in bounds]
