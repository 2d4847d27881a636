"""Whole episodes of a policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from rrl.types import Actor

Array = NDArray[np.float64]


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


def run_episodes(envs: VectorEnv[Any, Any, Any], actor: Actor, num_episodes: int) -> EpisodeReturns:
    """Run episodes with the mean action.

    Each world runs a number of episodes that is fixed beforehand. Taking whichever episodes end first would favour
    short ones, and a short episode is a failed one.

    Args:
        envs: ``N`` worlds with a time limit that reset themselves within the step (``AutoresetMode.SAME_STEP``); they
            are reset first.
        actor: The policy. Its actions are clipped to the action box.
        num_episodes: Episodes in all, at least 1, shared out evenly among the worlds.

    Returns:
        Exactly ``num_episodes`` episodes, world by world. Fewer than 1 raise ValueError.
    """
    return collect_episodes(envs, lambda observations: mean_actions(envs, actor, observations), num_episodes)


def collect_episodes(
    envs: VectorEnv[Any, Any, Any], choose: Callable[[Array], Array], num_episodes: int
) -> EpisodeReturns:
    """Run episodes as :func:`run_episodes` does, with any function that chooses the actions.

    Args:
        envs: ``N`` worlds.
        choose: From raw observations ``[N, O]`` to the actions ``[N, A]`` that are executed.
        num_episodes: Episodes in all, at least 1.

    Returns:
        Exactly ``num_episodes`` episodes, world by world.

    Raises:
        ValueError: If ``num_episodes`` is below 1.
    """
    if num_episodes < 1:
        raise ValueError(f"`num_episodes` must be at least 1, got {num_episodes}.")
    records = _EpisodeRecords(envs, num_episodes)
    observations, _ = envs.reset()
    records.start()
    while not records.complete:
        observations, rewards, terminated, truncated, _ = envs.step(choose(observations))
        records.add(np.asarray(rewards), terminated, terminated | truncated)
    return records.result()


def mean_actions(envs: VectorEnv[Any, Any, Any], actor: Actor, observations: Array) -> Array:
    """Ask an actor for its actions without exploration noise.

    Args:
        envs: The worlds, for their action box.
        actor: The policy.
        observations: Raw observations. Shape ``[N, O]``.

    Returns:
        Actions clipped to the box. Shape ``[N, A]``.

    Raises:
        TypeError: If actions are not continuous.
    """
    space = envs.single_action_space
    if not isinstance(space, Box):
        raise TypeError(f"The action space must be a Box, got {space}.")
    noise = torch.zeros(envs.num_envs, space.shape[0])
    with torch.no_grad():
        actions = actor.act(torch.as_tensor(observations, dtype=torch.float32), noise)
    return np.clip(actions.numpy().astype(np.float64), space.low, space.high)


class _EpisodeRecords:
    """Running sums per world, and the episodes that count."""

    def __init__(self, envs: VectorEnv[Any, Any, Any], num_episodes: int) -> None:
        self._envs = envs
        worlds = np.arange(envs.num_envs)
        self._quota = num_episodes // envs.num_envs + (worlds < num_episodes % envs.num_envs)
        self._sums, self._steps = np.zeros(envs.num_envs), np.zeros(envs.num_envs, dtype=np.int64)
        self._ended: list[list[tuple[float, int, bool, float]]] = [[] for _ in worlds]

    @property
    def complete(self) -> bool:
        """True when every world has run its episodes."""
        return all(len(ended) >= quota for ended, quota in zip(self._ended, self._quota, strict=True))

    def start(self) -> None:
        """Note where the worlds stand at the start."""
        position = forward_positions(self._envs)
        self._start, self._latest = position, position

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
        position = forward_positions(self._envs)
        self._start, self._latest = np.where(ended, position, self._start), position

    def result(self) -> EpisodeReturns:
        """Gather the episodes, world by world."""
        returns, lengths, failed, distances = zip(*(row for ended in self._ended for row in ended), strict=True)
        moved = np.asarray(distances)
        return EpisodeReturns(
            returns=np.asarray(returns),
            lengths=np.asarray(lengths),
            failed=np.asarray(failed),
            forward_distances=None if np.isnan(moved).any() else moved,
        )


def forward_positions(envs: VectorEnv[Any, Any, Any]) -> Array:
    """Read how far the worlds have moved along their x axis.

    Args:
        envs: The worlds.

    Returns:
        Positions in metres; NaN where the task does not move forward or the worlds are not our own. Shape ``[N]``.
    """
    if not getattr(getattr(envs, "task", None), "moves", False):
        return np.full(envs.num_envs, np.nan)
    return np.array(envs.simulator_states()[:, 0])  # type: ignore[attr-defined]  # only the native worlds have it
