"""What disturbs a rollout: forces of an adversary, which are recorded, or actions drawn by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from rrl.envs import HasAdversary
from rrl.random_streams import Purpose, numpy_stream
from rrl.types import Adversary, AttackRecord

EPISODE_STRIDE = 2**20
"""Episodes are numbered by world, plus this for every earlier episode of the same world; more worlds than any run."""


class AttackSource:
    """The random streams of the adversary, one a world, and the numbers of the episodes, attacked or not.

    Life of a rollout: `begin`, then `next_forces` before each step; ``record`` tells what happened. ``first_world`` is
    the index of the first world over all ranks.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], *, seed: int, first_world: int) -> None:
        self._envs = envs if isinstance(envs, HasAdversary) and envs.adversary_dim > 0 else None
        self._worlds = np.arange(first_world, first_world + envs.num_envs)
        self._streams = [numpy_stream(Purpose.ATTACK, seed, int(world)) for world in self._worlds]
        self._num_episodes = np.zeros(envs.num_envs, dtype=np.int64)

    def begin(self, adversary: Adversary, num_steps: int, previous_returns: NDArray[np.float64]) -> None:
        """Start a rollout; ``previous_returns`` is what the running episodes have collected so far. Shape ``[N]``."""
        if self._envs is None:
            raise ValueError("an adversary needs environments that it can push, such as `env_id: rrl/HopperAdv-v1`.")
        self._adversary, self._forces_of = adversary, self._envs.adversary_forces
        size = (num_steps, self._envs.adversary_dim)
        noise = np.stack([stream.standard_normal(size) for stream in self._streams], axis=1)
        uniforms = np.stack([stream.random(num_steps) for stream in self._streams], axis=1)
        self._noise = torch.from_numpy(noise).float()
        # Rounding to float32 must not turn a draw below 1 into 1.
        self._uniforms = torch.from_numpy(uniforms).float().clamp(max=1.0 - 2.0**-24)
        self._step = 0
        self.record = AttackRecord(
            actions=torch.empty_like(self._noise),
            is_open=torch.empty_like(self._uniforms, dtype=torch.bool),
            explored=torch.empty_like(self._uniforms, dtype=torch.bool),
            risk=torch.empty_like(self._uniforms),
            previous_returns=torch.from_numpy(previous_returns.copy()).float(),
            strength=torch.empty(num_steps),
        )

    def number_episodes(self, episode_starts: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number the running episodes ``[N]``, uniquely over run and ranks, given where one begins with this step."""
        self._num_episodes += episode_starts
        return self._worlds + EPISODE_STRIDE * self._num_episodes

    def next_forces(self, observations: Tensor, episode_starts: NDArray[np.bool_]) -> Any:
        """Return the forces of the next step, given raw observations ``[N, O]`` and where an episode begins ``[N]``.

        Actions that are not finite raise FloatingPointError.
        """
        step, record = self._step, self.record
        starts = torch.from_numpy(episode_starts) if step > 0 else torch.ones(len(episode_starts), dtype=torch.bool)
        attack = self._adversary.attack(observations, self._noise[step], self._uniforms[step], starts)
        if not attack.actions.isfinite().all():
            raise FloatingPointError("the adversary chose actions that are not finite: its parameters have diverged.")
        record.actions[step], record.is_open[step] = attack.actions, attack.is_open
        record.explored[step], record.risk[step] = attack.explored, attack.risk
        record.strength[step] = attack.strength
        self._step += 1
        executed = torch.where(attack.is_open.unsqueeze(-1), attack.actions, 0.0)
        return self._forces_of(executed.numpy()) * attack.strength

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact continuation needs."""
        return {
            "streams": [stream.bit_generator.state for stream in self._streams],
            "num_episodes": torch.from_numpy(self._num_episodes.copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of as many worlds."""
        for stream, saved in zip(self._streams, state["streams"], strict=True):
            stream.bit_generator.state = saved
        self._num_episodes[:] = state["num_episodes"].numpy()


class RandomActions:
    """Replaces each action with a fixed probability by one that is uniform in the action box.

    It is the probabilistic action-robust setting with chance in the adversary's place: part of the world, and not seen
    by the policy, whose own action is what is recorded. Life of a rollout: `begin`, then `execute` before each step.

    References:
        Tessler, Efroni and Mannor, "Action robust reinforcement learning and applications in continuous control",
        ICML 2019, definition 1.
    """

    def __init__(self, box: Box, probability: float, num_worlds: int, *, seed: int, first_world: int = 0) -> None:
        self._box, self._probability = box, probability
        worlds = range(first_world, first_world + num_worlds)
        self._streams = [numpy_stream(Purpose.RANDOM_ACTION, seed, world) for world in worlds]

    def begin(self, num_steps: int) -> None:
        """Draw for a rollout of ``num_steps``, since a call per world and step would cost more than the draw."""
        size = (num_steps, 1 + self._box.shape[0])
        draws = np.stack([stream.random(size) for stream in self._streams], axis=1)
        self._replaced = draws[..., 0] < self._probability
        self._candidates = self._box.low + draws[..., 1:] * (self._box.high - self._box.low)

    def execute(self, step: int, actions: NDArray[Any]) -> NDArray[Any]:
        """Return what the worlds receive where ``[N, A]`` was chosen, in a step of the rollout. Shape ``[N, A]``."""
        chosen: NDArray[Any] = np.where(self._replaced[step][:, None], self._candidates[step], actions)
        return chosen

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the states of the streams."""
        return [dict(stream.bit_generator.state) for stream in self._streams]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Continue from the states of as many worlds."""
        for stream, saved in zip(self._streams, state, strict=True):
            stream.bit_generator.state = saved
