"""Run chosen actions in the simulator, from the same states in several worlds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from rrl.envs import MuJoCoVectorEnv, flat_box
from rrl.types import RolloutBatch, WindowBatch


class Replays(NamedTuple):
    """The same actions from the same states, under several draws of pushes and physics."""

    observations: Tensor
    """Raw observations; behind an episode's end the last one repeats. Shape ``[W, B, H, O]``."""
    rewards: Tensor
    """Rewards; 0 behind an episode's end and in the last column. Shape ``[W, B, H]``."""
    terminated: Tensor
    """Transitions that ended the episode for good. Boolean, shape ``[W, B, H]``."""
    valid: Tensor
    """Transitions up to the end of the episode; the last row has none. Boolean, shape ``[W, B, H]``."""

    def as_windows(self) -> WindowBatch:
        """Deliver all replays as one batch of ``W * B`` windows, without their actions."""
        observations, rewards, terminated, valid = (column.flatten(0, 1) for column in self)
        return WindowBatch(observations, observations[..., :0], rewards, terminated, valid)

    def as_rollout(self, actions: Tensor) -> RolloutBatch:
        """Deliver all replays and their actions ``[W, B, H, A]`` as ``W * B`` trajectories of ``T = H - 1`` steps.

        What lies behind an episode's end has weight 0.
        """
        columns = (self.observations, actions, self.rewards, self.terminated, self.valid)
        observations, actions, rewards, ended, valid = (column.flatten(0, 1).transpose(0, 1) for column in columns)
        weights = valid[:-1].to(rewards)
        return RolloutBatch(
            observations=observations[:-1],
            actions=actions[:-1],
            rewards=rewards[:-1],
            terminated=ended[:-1],
            truncated=valid[:-1] & ~valid[1:] & ~ended[:-1],
            next_observations=observations[1:],
            weights=weights,
            value_weights=weights,
        )


def replay(
    envs: VectorEnv[Any, Any, Any],
    states: Tensor,
    choose: Callable[[int, Tensor], Tensor],
    *,
    draws: int,
    horizon: int,
) -> Replays:
    """Run short trajectories of ``H`` rows from simulator states ``[B, S]``, float64, each in ``W`` worlds drawn anew.

    There must be ``W * B`` native worlds, else that is a TypeError or ValueError. ``choose`` gives raw actions
    ``[W, B, A]``, or ``[B, A]`` for all draws alike, by the step and raw observations ``[W, B, O]``.
    """
    if not isinstance(envs, MuJoCoVectorEnv):
        raise TypeError(f"`envs` must be native worlds, got {envs}.")
    if envs.num_envs != draws * len(states):
        raise ValueError(f"`envs` must have {draws * len(states)} worlds, got {envs.num_envs}.")
    space = flat_box(envs.single_action_space)
    envs.reset()
    current = envs.set_simulator_states(np.tile(states.numpy(), (draws, 1)))
    running = np.ones(len(current), dtype=bool)
    columns: list[list[NDArray[Any]]] = [[current], [], [], []]
    for step in range(horizon - 1):
        actions = choose(step, torch.from_numpy(current).float().unflatten(0, (draws, -1)))
        controls = actions.expand(draws, -1, -1).flatten(0, 1).numpy()
        after, rewards, terminated, truncated, infos = envs.step(np.clip(controls, space.low, space.high))
        # The worlds reset themselves where an episode ends; what the trajectory saw is the observation before that.
        following = np.where(infos["_final_obs"][:, None], infos["final_obs"], after) if "final_obs" in infos else after
        current = np.where(running[:, None], following, current)
        for column, values in zip(columns, (current, rewards * running, terminated & running, running), strict=True):
            column.append(values)
        running = running & ~(terminated | truncated)
    for column in columns[1:]:
        column.append(np.zeros_like(column[0]))
    return Replays(*(_stacked(column, draws) for column in columns))


def _stacked(column: list[NDArray[Any]], draws: int) -> Tensor:
    """Turn a list over steps of ``[W * B, ...]`` into ``[W, B, H, ...]``."""
    tensor = torch.from_numpy(np.stack(column, axis=1))
    split: Tensor = (tensor.float() if tensor.is_floating_point() else tensor).unflatten(0, (draws, -1))
    return split
