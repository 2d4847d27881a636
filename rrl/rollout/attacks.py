"""Ask an adversary for forces during a rollout, and record what it did."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from rrl.random_streams import Purpose, numpy_stream
from rrl.types import Adversary, Attack, AttackRecord

MOST_WORLDS = 2**20
"""Episodes are numbered by world, plus this for every earlier episode of the same world."""


class AttackSource:
    """The random streams of the adversary, one a world, and the numbers of the episodes that it attacks.

    Life of a rollout: `begin`, then `next_forces` before each step, then `finish`.

    Args:
        envs: Environments; ``adversary_dim`` is 0 or absent where they have no adversary.
        seed: Seed of the streams.
        first_world: Index of the first world over all ranks.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], *, seed: int, first_world: int) -> None:
        self._envs: Any = envs
        self._action_dim = int(getattr(envs, "adversary_dim", 0))
        self._worlds = np.arange(first_world, first_world + envs.num_envs)
        self._streams = [numpy_stream(Purpose.ATTACK, seed, int(world)) for world in self._worlds]
        self._num_episodes = np.zeros(envs.num_envs, dtype=np.int64)

    def begin(self, adversary: Adversary, num_steps: int, previous_returns: NDArray[np.float64]) -> None:
        """Start a rollout.

        Args:
            adversary: Chooses the actions.
            num_steps: Steps of each world, ``T``.
            previous_returns: What the running episodes have collected so far. Shape ``[N]``.

        Raises:
            ValueError: If the environments have no adversary.
        """
        if self._action_dim == 0:
            raise ValueError("an adversary needs environments that it can push, such as `env_id: rrl/HopperAdv-v1`.")
        self._adversary = adversary
        self._previous_returns = torch.from_numpy(previous_returns.copy()).float()
        noise = [stream.standard_normal((num_steps, self._action_dim)) for stream in self._streams]
        uniforms = [stream.random(num_steps) for stream in self._streams]
        self._noise = torch.from_numpy(np.stack(noise, axis=1)).float()
        # Rounding to float32 must not turn a draw below 1 into 1.
        self._uniforms = torch.from_numpy(np.stack(uniforms, axis=1)).float().clamp(max=1.0 - 2.0**-24)
        self._attacks: list[Attack] = []
        self._episodes: list[NDArray[np.int64]] = []

    def next_forces(self, observations: NDArray[np.float32], episode_starts: NDArray[np.bool_]) -> Any:
        """Ask for the forces of the next step.

        Args:
            observations: Raw observations. Shape ``[N, O]``.
            episode_starts: True where an episode begins with them. Shape ``[N]``.

        Returns:
            What the environments' ``step`` takes as forces.

        Raises:
            FloatingPointError: If the adversary chooses actions that are not finite.
        """
        step = len(self._attacks)
        starts = torch.from_numpy(episode_starts) if step > 0 else torch.ones(len(episode_starts), dtype=torch.bool)
        attack = self._adversary.attack(torch.from_numpy(observations), self._noise[step], self._uniforms[step], starts)
        if not attack.actions.isfinite().all():
            raise FloatingPointError("the adversary chose actions that are not finite: its parameters have diverged.")
        self._num_episodes += episode_starts
        self._attacks.append(attack)
        self._episodes.append(self._worlds + MOST_WORLDS * self._num_episodes)
        executed = torch.where(attack.is_open.unsqueeze(-1), attack.actions, 0.0)
        return self._envs.adversary_forces(executed.numpy())

    def finish(self) -> AttackRecord:
        """End the rollout.

        Returns:
            What happened in it.
        """
        actions, is_open, explored, risk = (torch.stack(column) for column in zip(*self._attacks, strict=True))
        episodes = torch.from_numpy(np.stack(self._episodes))
        return AttackRecord(actions, is_open, explored, risk, episodes, self._previous_returns)

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact continuation needs, in plain types and tensors."""
        return {
            "streams": [stream.bit_generator.state for stream in self._streams],
            "num_episodes": torch.from_numpy(self._num_episodes.copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that :meth:`state_dict` returned for as many worlds.

        Args:
            state: The saved state; empty in checkpoints from before there were adversaries.
        """
        if not state:
            return
        for stream, saved in zip(self._streams, state["streams"], strict=True):
            stream.bit_generator.state = saved
        self._num_episodes[:] = state["num_episodes"].numpy()
