"""Environments that Gymnasium steps, with the interface of the native worlds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Space
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import TimeLimit, TransformObservation

from rrl.checks import kind_of
from rrl.envs.adversarial import ADVERSARY, PROTAGONIST, AdversarialForce, AdversarialWorlds
from rrl.envs.bodies import ADVERSARIAL_TASKS, AdversaryBodies
from rrl.envs.forces import ForceUnit
from rrl.envs.names import WRAPPERS, Wrappers, require_registered, wrap
from rrl.random_streams import Purpose, derived_seed


@dataclass(frozen=True, kw_only=True)
class GymnasiumRecipe:
    """How an environment is made; the fields are arguments of :func:`~rrl.envs.make.make_vec_env`."""

    env_id: str
    max_episode_steps: int | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: Wrappers = field(default_factory=dict)
    adversary: AdversaryBodies | None = None
    force_limit: float | None = None
    force_limit_unit: ForceUnit = "newtons"

    def make(self) -> gymnasium.Env[Any, Any]:
        """Make one environment, with the adversary's forces on the outside.

        ValueError if it is unknown, fails, has no time limit, or cannot have what is asked for.
        """
        name = require_registered(self.env_id)
        try:
            env = gymnasium.make(name, max_episode_steps=self.max_episode_steps, **self.env_kwargs)
        except Exception as error:  # whatever its author raises
            raise ValueError(f"`env_id` {self.env_id} cannot be made ({kind_of(error)}).") from error
        env = wrap(env, self.wrappers)
        if find_wrapper(env, TimeLimit) is None:
            raise ValueError(
                f"`max_episode_steps` must be given: {self.env_id} has no time limit of its own, "
                "so an episode might never end."
            )
        return self._with_adversary(env)

    def _with_adversary(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        if self.adversary is None and self.force_limit is None:
            return env
        game = find_wrapper(env, AdversarialForce)
        if game is not None:
            game.change(self.adversary, self.force_limit, self.force_limit_unit)
            return env
        if self.adversary is None:
            raise ValueError(
                f"`force_limit` needs one of the tasks {sorted(ADVERSARIAL_TASKS)} or the bodies of an `adversary`, "
                f"got {self.env_id!r}."
            )
        if not hasattr(env.unwrapped, "model"):
            raise ValueError(f"`adversary` needs a MuJoCo environment, got {self.env_id}.")
        game = AdversarialForce(env, self.adversary.bodies, axes=self.adversary.axes)
        game.change(None, self.force_limit, self.force_limit_unit)
        return game


def find_wrapper(env: gymnasium.Env[Any, Any], kind: type) -> Any | None:
    """Find the outermost wrapper of a class around an environment; None where there is none."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, kind):
            return env
        env = env.env
    return None


def make_gymnasium(recipe: GymnasiumRecipe, num_envs: int, seed: int, first_world: int) -> VectorEnv[Any, Any, Any]:
    """Make Gymnasium's own environments with the interface of the native ones, see ``make_vec_env``."""

    def make_one() -> gymnasium.Env[Any, Any]:
        env = recipe.make()
        # Copies, since an environment may write every observation to one array, also the first of the next episode.
        return TransformObservation(env, np.copy, env.observation_space)

    probe = recipe.make()  # what is wrong with its spaces must be said before they are batched
    try:
        require_flat(probe, recipe.env_id)
        require_observation(probe, recipe.env_id)
    finally:
        probe.close()
    envs = SyncVectorEnv([make_one] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    worlds = SeededWorlds(envs, seed, first_world)
    return AdversarialWorlds(worlds) if isinstance(envs.single_action_space, Dict) else worlds


def require_flat(env: gymnasium.Env[Any, Any], env_id: str) -> None:
    """Raise ValueError unless observations are a flat box and actions a flat box of real numbers."""
    space, actions = env.observation_space, protagonist_space(env)
    if not (isinstance(space, Box) and len(space.shape) == 1):
        hint = f"`wrappers: {{{WRAPPERS}.FlattenObservation: }}` makes one"
        raise ValueError(f"The observation space of {env_id} must be a flat Box, got {space}; {hint}.")
    if not (isinstance(actions, Box) and len(actions.shape) == 1):
        raise ValueError(f"The action space of {env_id} must be a flat Box, got {actions}.")
    if not np.issubdtype(actions.dtype, np.floating):
        raise ValueError(f"The action space of {env_id} must hold real numbers, got {actions}.")


def require_observation(env: gymnasium.Env[Any, Any], env_id: str) -> None:
    """Raise ValueError unless an environment can be reset, and then returns an observation of its space's shape."""
    try:
        observation, _ = env.reset(seed=0)
    except Exception as error:  # whatever its author raises
        raise ValueError(f"{env_id} cannot be reset ({kind_of(error)}).") from error
    if np.shape(observation) != env.observation_space.shape:
        shapes = f"{list(np.shape(observation))}, its observation space says {list(env.observation_space.shape or ())}"
        raise ValueError(f"{env_id} returns observations of the shape {shapes}.")


def protagonist_space(env: gymnasium.Env[Any, Any]) -> Space[Any]:
    """Return the space of the policy's actions."""
    both = env.action_space
    return both[PROTAGONIST] if isinstance(both, Dict) and set(both) == {PROTAGONIST, ADVERSARY} else both


def admissible(actions: Any, space: Space[Any]) -> Any:
    """Bring actions into the type and the box of their space; those of a dictionary one by one.

    Example:
        >>> admissible([1.5], Box(-1.0, 1.0, (1,)))
        array([1.], dtype=float32)
    """
    if isinstance(space, Dict):
        return {name: admissible(actions[name], part) for name, part in space.items()}
    if not isinstance(space, Box):
        return actions
    return np.clip(np.asarray(actions), space.low, space.high).astype(space.dtype)


class SeededWorlds(VectorWrapper[Any, Any, Any]):
    """Environments that reset in the same step, with the seeds and the infos of the native ones."""

    def __init__(self, env: VectorEnv[Any, Any, Any], seed: int, first_world: int) -> None:
        super().__init__(env)
        self._first_world, self._seed = first_world, seed
        self._next_seeds: list[int] | None = self._seeds(seed)

    def _seeds(self, seed: int, *index: int) -> list[int]:
        worlds = range(self._first_world, self._first_world + self.num_envs)
        # Seeds that follow each other would give world 1 of seed 0 what world 0 of seed 1 has.
        return [derived_seed(Purpose.GYMNASIUM_WORLD, seed, world, *index, bits=31) for world in worlds]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a new episode everywhere; a seed seeds the streams anew, ``None`` lets them go on."""
        seeds: Any = self._next_seeds if seed is None else self._seeds(seed)
        self._next_seeds = None
        return self.env.reset(seed=seeds, options=options)

    def start_anew(self, num_episodes: int) -> Any:
        """Start episodes after a resume, new ones for each number of episodes that the run has begun before."""
        seeds: Any = self._seeds(self._seed, num_episodes)
        return self.env.reset(seed=seeds)[0]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Advance all environments, see :meth:`rrl.envs.vector.MuJoCoVectorEnv.step`."""
        observations, rewards, terminated, truncated, infos = self.env.step(admissible(actions, self.action_space))
        if "final_obs" in infos:
            # Gymnasium gives an array of objects; where no episode ended there is nothing but the observation itself.
            final = np.array(observations)
            ended = infos["_final_obs"]
            final[ended] = np.stack(list(infos["final_obs"][ended]))
            infos["final_obs"] = final
        return observations, rewards, terminated, truncated, infos


def seeded_worlds(envs: VectorEnv[Any, Any, Any]) -> SeededWorlds | None:
    """Find the worlds of :func:`make_gymnasium` below their wrappers; None for native ones."""
    while isinstance(envs, VectorWrapper):
        if isinstance(envs, SeededWorlds):
            return envs
        envs = envs.env
    return None
