"""Whole episodes of a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from rrl.checks import require_at_least
from rrl.envs import AdversaryBodies, flat_box, make_vec_env
from rrl.envs.gymnasium_worlds import GymnasiumRecipe
from rrl.envs.names import Wrappers
from rrl.types import Actor

Array = NDArray[np.float64]
BatchPolicy = Callable[[Array], Array]
"""From raw observations ``[N, O]``, float64, to actions ``[N, A]`` in the environment's units, without exploration;
whoever executes them clips them to the action box. It must treat rows independently and keep no memory."""


@dataclass(frozen=True)
class Trial:
    """The episodes that every policy meets, in every cell and under every attack."""

    env_id: str
    num_episodes: int
    """Episodes of each cell, and for each candidate of a search for attacks as many to choose by."""
    seed: int = 0
    """Of everything that is drawn."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment's constructor, such as ``reset_noise_scale``."""
    wrappers: Wrappers = field(default_factory=dict)
    max_episode_steps: int | None = None
    """Time limit; the task's own where None."""
    adversary: AdversaryBodies | None = None
    """Bodies that attackers push; those of the task with an adversary where None."""
    push_body: str | None = None
    """Body that the pushes of a suite act on; that of a native task where None."""

    def __post_init__(self) -> None:
        require_at_least(1, num_episodes=self.num_episodes)
        require_at_least(0, seed=self.seed)
        require_at_least(1, max_episode_steps=self.max_episode_steps)

    @property
    def recipe(self) -> GymnasiumRecipe:
        """How an environment is made that is not native."""
        return GymnasiumRecipe(
            env_id=self.env_id,
            env_kwargs=self.env_kwargs,
            wrappers=self.wrappers,
            max_episode_steps=self.max_episode_steps,
        )

    def make_envs(self, num_envs: int, seed: int, **adversary: Any) -> VectorEnv[Any, Any, Any]:
        """Make unchanged worlds, with the settings of an adversary if there is one; see ``make_vec_env``."""
        return make_vec_env(
            self.env_id,
            num_envs,
            seed=seed,
            env_kwargs=self.env_kwargs,
            wrappers=self.wrappers,
            max_episode_steps=self.max_episode_steps,
            **adversary,
        )


@dataclass(frozen=True)
class EpisodeReturns:
    """What happened in ``E`` episodes."""

    returns: Array
    """Undiscounted sums of rewards. Shape ``[E]``."""
    lengths: NDArray[np.int64]
    """Numbers of environment steps. Shape ``[E]``."""
    failed: NDArray[np.bool_]
    """True where the episode terminated rather than being cut off by the time limit. Shape ``[E]``."""
    forward_distances: Array | None
    """Metres travelled along the world's x axis up to the step before the last; None where the task has no such axis.
    Shape ``[E]``."""


class MeanActions:
    """The mean action of an actor, of size ``A``: a :data:`BatchPolicy`, and an actor without exploration noise."""

    def __init__(self, actor: Actor, action_dim: int) -> None:
        self._actor, self._action_dim = actor, action_dim

    def __call__(self, observations: Array) -> Array:
        """Choose actions ``[N, A]`` for observations ``[N, O]``."""
        with torch.no_grad():
            actions = self.act(torch.as_tensor(observations, dtype=torch.float32))
        return actions.numpy().astype(np.float64)

    def act(self, observations: Tensor, noise: Tensor | None = None) -> Tensor:
        """Choose actions whatever the noise; see :class:`rrl.types.Actor`."""
        return self._actor.act(observations, torch.zeros(len(observations), self._action_dim))


def run_episodes(envs: VectorEnv[Any, Any, Any], actor: Actor, num_episodes: int) -> EpisodeReturns:
    """Run episodes with the mean action of an actor, see :func:`collect_episodes`."""
    act = MeanActions(actor, len(flat_box(envs.single_action_space).low))
    # Only seen in a terminal, and if it takes its time: a bar that stands at 100 % looks like a run that hangs.
    about = {"desc": f"evaluation, {num_episodes} episodes", "unit": " steps", "unit_scale": envs.num_envs}
    with tqdm(**about, delay=2.0, leave=False, disable=None, dynamic_ncols=True) as bar:
        return collect_episodes(envs, act, num_episodes, on_step=bar.update)


def collect_episodes(
    envs: VectorEnv[Any, Any, Any],
    policy: BatchPolicy,
    num_episodes: int,
    on_step: Callable[[], object] = lambda: None,
) -> EpisodeReturns:
    """Run episodes, shared out evenly among the worlds, and return exactly so many, world by world.

    Each world runs a number of episodes that is fixed beforehand. Taking whichever episodes end first would favour
    short ones, and a short episode is a failed one. The worlds are reset first, have a time limit and reset themselves
    within the step (``AutoresetMode.SAME_STEP``). Actions are clipped to their action box.
    ``on_step`` is called after each step of all worlds.
    """
    require_at_least(1, num_episodes=num_episodes)
    box = flat_box(envs.single_action_space)
    observations, _ = envs.reset()
    records = _EpisodeRecords(envs, num_episodes)
    while not records.complete:
        actions = np.clip(policy(observations), box.low, box.high)
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        records.add(np.asarray(rewards), terminated, terminated | truncated)
        on_step()
    return records.result()


class _EpisodeRecords:
    """Running sums per world, and the episodes that count, of worlds that have just been reset."""

    def __init__(self, envs: VectorEnv[Any, Any, Any], num_episodes: int) -> None:
        self._envs = envs
        worlds = np.arange(envs.num_envs)
        self._quota = num_episodes // envs.num_envs + (worlds < num_episodes % envs.num_envs)
        self._sums, self._steps = np.zeros(envs.num_envs), np.zeros(envs.num_envs, dtype=np.int64)
        self._ended: list[list[tuple[float, int, bool, float]]] = [[] for _ in worlds]
        self._start = self._latest = _forward_positions(envs)

    @property
    def complete(self) -> bool:
        """True when every world has run its episodes."""
        return all(len(ended) >= quota for ended, quota in zip(self._ended, self._quota, strict=True))

    def add(self, rewards: Array, failed: NDArray[np.bool_], ended: NDArray[np.bool_]) -> None:
        """Add a step of all worlds. The worlds that have ended stand at their next start already."""
        self._sums += rewards
        self._steps += 1
        for world in np.flatnonzero(ended):
            if len(self._ended[world]) < self._quota[world]:
                distance = float(self._latest[world] - self._start[world])
                record = (float(self._sums[world]), int(self._steps[world]), bool(failed[world]), distance)
                self._ended[world].append(record)
        self._sums[ended], self._steps[ended] = 0.0, 0
        position = _forward_positions(self._envs)
        self._start, self._latest = np.where(ended, position, self._start), position

    def result(self) -> EpisodeReturns:
        """Gather the episodes, world by world."""
        returns, lengths, failed, distances = zip(*(row for ended in self._ended for row in ended), strict=True)
        moved = None if np.isnan(distances).any() else np.array(distances)
        return EpisodeReturns(np.array(returns), np.array(lengths), np.array(failed), moved)


def _forward_positions(envs: VectorEnv[Any, Any, Any]) -> Array:
    """Read the worlds' x positions in metres; NaN where the task does not move forward or they are not our own."""
    if not getattr(getattr(envs, "task", None), "moves", False):
        return np.full(envs.num_envs, np.nan)
    return np.array(envs.simulator_states()[:, 0])  # type: ignore[attr-defined]  # only the native worlds have it
