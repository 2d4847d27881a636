"""Drive environments with an actor and record what happens."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from rrl.checks import require_at_least
from rrl.envs import MuJoCoVectorEnv, flat_box
from rrl.random_streams import Purpose, numpy_stream
from rrl.rollout.attacks import AttackSource, RandomActions
from rrl.types import Actor, Adversary, EpisodeStatistics, Rollout, RolloutBatch

Columns = dict[str, NDArray[Any]]
"""What is recorded by name; one row a step."""
Episode = tuple[float, int, bool, bool]
"""Return and length of an episode, and whether it failed and was unstable."""


LARGEST = 1e12
"""Numbers beyond are no measurement, and their squares leave the range of the networks."""


class EnvironmentFaultError(RuntimeError):
    """An environment that returned what is no observation or reward; the message says where."""


class RolloutCollector:
    """Collect rollouts of fixed length; episodes continue from one rollout to the next.

    Each world has its own stream of action noise, so what a world does is independent of how many worlds share its
    process. ``first_world`` is the index of the first one over all ranks. The environments are reset here.
    """

    def __init__(
        self, envs: VectorEnv[Any, Any, Any], *, seed: int, first_world: int = 0, random_actions: float = 0.0
    ) -> None:
        self.envs, self.first_world = envs, first_world
        worlds = range(first_world, first_world + envs.num_envs)
        self.streams = [numpy_stream(Purpose.ACTION, seed, world) for world in worlds]
        self.observations, _ = envs.reset()
        self.returns = np.zeros(envs.num_envs)
        self.lengths = np.zeros(envs.num_envs, dtype=np.int64)
        self.attacks = AttackSource(envs, seed=seed, first_world=first_world)
        box = flat_box(envs.single_action_space)
        self.action_low, self.action_high = box.low, box.high
        self.random_actions: RandomActions | None = None
        if random_actions > 0.0:
            self.random_actions = RandomActions(box, random_actions, envs.num_envs, seed=seed, first_world=first_world)

    @torch.no_grad()
    def collect(self, actor: Actor, num_steps: int, adversary: Adversary | None = None) -> Rollout:
        """Step all worlds ``T = num_steps`` times; return the rollout on the CPU, without a gradient graph.

        Actions are clipped to the action box on their way to the environment and recorded unclipped, since that is what
        the policy sampled; those that are not finite raise FloatingPointError. The adversary's random draws are streams
        of their own, so that the protagonist's noise is the same with and without it.
        """
        require_at_least(1, num_steps=num_steps)
        start = time.perf_counter()
        size = (num_steps, self.action_low.shape[0])
        drawn = np.stack([stream.standard_normal(size) for stream in self.streams], axis=1)
        noise = torch.from_numpy(drawn).float()
        if adversary is not None:
            self.attacks.begin(adversary, num_steps, self.returns)
        if self.random_actions is not None:
            self.random_actions.begin(num_steps)
        columns = self._allocate(num_steps)
        episodes: list[Episode] = []
        for step in range(num_steps):
            unstable = self._step(actor, noise[step], step, columns, attacked=adversary is not None)
            failed = columns["terminated"][step]
            ended = np.flatnonzero(failed | columns["truncated"][step])
            finished = (column[ended].tolist() for column in (self.returns, self.lengths, failed, unstable))
            episodes += zip(*finished, strict=True)
            self.returns[ended], self.lengths[ended] = 0.0, 0
        for name in ("observations", "rewards", "next_observations"):
            self._require_sane(name.removesuffix("s").replace("_", " "), columns[name])
        tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
        states, ids = tensors.pop("simulator_states"), tensors.pop("episode_ids")
        ones = torch.ones_like(tensors["rewards"])
        return Rollout(
            transitions=RolloutBatch(**tensors, weights=ones, value_weights=ones),
            episodes=_statistics(episodes),
            simulator_states=states,
            seconds=torch.tensor(time.perf_counter() - start),
            episode_ids=ids,
            attack=None if adversary is None else self.attacks.record,
        )

    def _allocate(self, num_steps: int) -> Columns:
        shape = (num_steps, self.envs.num_envs)
        obs_shape = (*shape, self.observations.shape[1])
        return {
            "observations": np.empty(obs_shape, dtype=np.float32),
            "actions": np.empty((*shape, len(self.action_low)), dtype=np.float32),
            "rewards": np.empty(shape, dtype=np.float32),
            "terminated": np.empty(shape, dtype=np.bool_),
            "truncated": np.empty(shape, dtype=np.bool_),
            "next_observations": np.empty(obs_shape, dtype=np.float32),
            "episode_ids": np.empty(shape, dtype=np.int64),
            "simulator_states": np.empty((*shape, self._simulator_states().shape[1])),
        }

    def _step(self, actor: Actor, noise: Tensor, step: int, columns: Columns, *, attacked: bool) -> NDArray[np.bool_]:
        """Make and record one step; return where the simulation became unstable. Shape ``[N]``."""
        columns["simulator_states"][step] = self._simulator_states()
        with np.errstate(over="ignore"):  # what is too large is found below
            columns["observations"][step] = self.observations
        observations = torch.from_numpy(columns["observations"][step])
        actions = actor.act(observations, noise).numpy()
        if not np.isfinite(actions).all():
            self._require_sane("observation", columns["observations"][step : step + 1], step)
            raise FloatingPointError("the actor chose actions that are not finite: its parameters have diverged.")
        columns["actions"][step] = actions
        executed = np.clip(actions, self.action_low, self.action_high)
        if self.random_actions is not None:
            executed = self.random_actions.execute(step, executed)
        starts = self.lengths == 0
        columns["episode_ids"][step] = self.attacks.number_episodes(starts)
        forces = (self.attacks.next_forces(observations, starts),) if attacked else ()
        self.observations, rewards, terminated, truncated, infos = self.envs.step(executed, *forces)
        columns["terminated"][step], columns["truncated"][step] = terminated, truncated & ~terminated
        with np.errstate(over="ignore"):
            columns["rewards"][step], columns["next_observations"][step] = rewards, self.observations
            if "final_obs" in infos:
                ended = infos["_final_obs"]
                columns["next_observations"][step, ended] = infos["final_obs"][ended]
        self.returns += rewards
        self.lengths += 1
        return np.asarray(infos.get("unstable", np.zeros_like(terminated)))

    def _require_sane(self, quantity: str, values: NDArray[np.float32], first_step: int = 0) -> None:
        """Refuse numbers ``[T, N, ...]`` that no simulation means, from some step of the rollout on."""
        sane = np.abs(values) < LARGEST  # so is NaN not
        if sane.all():
            return
        step, world, *_ = np.argwhere(~sane)[0]
        number = values[step, world].flat[int(np.argmin(sane[step, world]))]
        raise EnvironmentFaultError(
            f"the environment returned the {quantity} {number} in step {first_step + step + 1} of the rollout in world "
            f"{self.first_world + world}: it must be a number below {LARGEST:g}."
        )

    def _simulator_states(self) -> NDArray[np.float64]:
        """Only the native worlds tell them. Shape ``[N, S]``."""
        native = self.envs.unwrapped
        return native.simulator_states() if isinstance(native, MuJoCoVectorEnv) else np.empty((self.envs.num_envs, 0))

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact continuation needs."""
        return {
            "streams": [stream.bit_generator.state for stream in self.streams],
            "observations": torch.from_numpy(self.observations.copy()),
            "returns": torch.from_numpy(self.returns.copy()),
            "lengths": torch.from_numpy(self.lengths.copy()),
            "attacks": self.attacks.state_dict(),
            "random_actions": self.random_actions.state_dict() if self.random_actions else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of as many worlds."""
        self.resume(state, state["observations"].numpy().copy())
        self.returns[:] = state["returns"].numpy()
        self.lengths[:] = state["lengths"].numpy()

    def resume(self, state: dict[str, Any], observations: NDArray[Any]) -> None:
        """Continue the random streams of a state of as many worlds, in episodes that have just begun."""
        if len(state["streams"]) != len(self.streams):
            raise ValueError(f"the saved state has {len(state['streams'])} worlds, this run has {len(self.streams)}.")
        for stream, saved in zip(self.streams, state["streams"], strict=True):
            stream.bit_generator.state = saved
        self.attacks.load_state_dict(state["attacks"])
        if self.random_actions is not None:
            self.random_actions.load_state_dict(state["random_actions"])
        self.observations = observations


def _statistics(episodes: list[Episode]) -> EpisodeStatistics:
    types = (torch.float, torch.long, torch.bool, torch.bool)
    return EpisodeStatistics(
        *(torch.tensor([each[i] for each in episodes], dtype=kind) for i, kind in enumerate(types))
    )
