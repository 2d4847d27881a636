"""Drive environments with an actor and record what happens."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from rrl.envs import flat_box
from rrl.random_streams import Purpose, numpy_stream
from rrl.rollout.attacks import AttackSource
from rrl.rollout.random_actions import RandomActions
from rrl.types import Actor, Adversary, EpisodeStatistics, Rollout, RolloutBatch


class RolloutCollector:
    """Collect rollouts of fixed length; episodes continue from one rollout to the next.

    Each world has its own stream of action noise, so what a world does is independent of how many worlds share its
    process.

    Args:
        envs: Environments with SAME_STEP autoreset, reset here.
        seed: Seed of the action noise.
        first_world: Index of the first world over all ranks.
        random_actions: Probability with which an executed action is drawn at random, in ``[0, 1)``.
    """

    def __init__(
        self, envs: VectorEnv[Any, Any, Any], *, seed: int, first_world: int = 0, random_actions: float = 0.0
    ) -> None:
        self.envs = envs
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
        """Step all worlds ``num_steps`` times.

        Args:
            actor: Chooses the actions; they are clipped to the action box on their way to the environment and recorded
                unclipped, since that is what the policy sampled.
            num_steps: Steps of each world, ``T``.
            adversary: Exerts forces, if given; its random draws are streams of their own, so that the protagonist's
                noise is the same with and without it.

        Returns:
            The rollout, on the CPU and without a gradient graph.

        Raises:
            ValueError: If ``num_steps`` is not positive.
            FloatingPointError: If the actor chooses actions that are not finite.
        """
        if num_steps < 1:
            raise ValueError(f"`num_steps` must be at least 1, got {num_steps}.")
        start = time.perf_counter()
        action_dim = self.action_low.shape[0]
        noise = np.stack([stream.standard_normal((num_steps, action_dim)) for stream in self.streams], axis=1)
        noise_tensor = torch.from_numpy(noise).float()
        steps: list[dict[str, NDArray[Any]]] = []
        episodes: list[tuple[float, int, bool]] = []
        if adversary is not None:
            self.attacks.begin(adversary, num_steps, self.returns)
        if self.random_actions is not None:
            self.random_actions.begin(num_steps)
        for step in range(num_steps):
            steps.append(self._step(actor, noise_tensor, step, attacked=adversary is not None))
            episodes += self._finish_episodes(steps[-1])
        rollout = self._as_rollout(steps, episodes, time.perf_counter() - start)
        return rollout if adversary is None else replace(rollout, attack=self.attacks.finish())

    def _step(self, actor: Actor, noise: Tensor, step: int, *, attacked: bool) -> dict[str, NDArray[Any]]:
        states = self._simulator_states()
        observations = self.observations.astype(np.float32)
        actions = actor.act(torch.from_numpy(observations), noise[step]).numpy()
        if not np.isfinite(actions).all():
            raise FloatingPointError("the actor chose actions that are not finite: its parameters have diverged.")
        executed = np.clip(actions, self.action_low, self.action_high)
        if self.random_actions is not None:
            executed = self.random_actions.execute(step, executed)
        forces = (self.attacks.next_forces(observations, self.lengths == 0),) if attacked else ()
        self.observations, rewards, terminated, truncated, infos = self.envs.step(executed, *forces)
        following = self.observations
        if (terminated | truncated).any():
            ended = infos["_final_obs"]
            following = self.observations.copy()
            following[ended] = infos["final_obs"][ended]
        return {
            "observations": observations,
            "actions": actions,
            "rewards": rewards,
            "terminated": terminated,
            "truncated": truncated & ~terminated,
            "next_observations": following.astype(np.float32),
            "simulator_states": states,
        }

    def _simulator_states(self) -> NDArray[np.float64]:
        states = getattr(self.envs, "simulator_states", None)
        return np.zeros((self.envs.num_envs, 0)) if states is None else states()

    def _finish_episodes(self, step: dict[str, NDArray[Any]]) -> list[tuple[float, int, bool]]:
        """Count this step and return (return, length, failed) of the episodes that it ended."""
        self.returns += step["rewards"]
        self.lengths += 1
        ended = np.flatnonzero(step["terminated"] | step["truncated"])
        finished = [(float(self.returns[i]), int(self.lengths[i]), bool(step["terminated"][i])) for i in ended]
        self.returns[ended], self.lengths[ended] = 0.0, 0
        return finished

    @staticmethod
    def _as_rollout(
        steps: list[dict[str, NDArray[Any]]], episodes: list[tuple[float, int, bool]], seconds: float
    ) -> Rollout:
        columns = {name: torch.from_numpy(np.stack([step[name] for step in steps])) for name in steps[0]}
        states = columns.pop("simulator_states")
        columns["rewards"] = columns["rewards"].float()
        ones = torch.ones_like(columns["rewards"])
        transitions = RolloutBatch(**columns, weights=ones, value_weights=ones)
        returns, lengths, failed = ([episode[i] for episode in episodes] for i in range(3))
        statistics = EpisodeStatistics(
            torch.tensor(returns), torch.tensor(lengths, dtype=torch.long), torch.tensor(failed, dtype=torch.bool)
        )
        return Rollout(transitions, statistics, states, torch.tensor(seconds))

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact continuation needs, in plain types and tensors."""
        return {
            "streams": [stream.bit_generator.state for stream in self.streams],
            "observations": torch.from_numpy(self.observations.copy()),
            "returns": torch.from_numpy(self.returns.copy()),
            "lengths": torch.from_numpy(self.lengths.copy()),
            "attacks": self.attacks.state_dict(),
            "random_actions": self.random_actions.state_dict() if self.random_actions else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that :meth:`state_dict` returned for as many worlds.

        Args:
            state: The saved state.

        Raises:
            ValueError: If it belongs to another number of worlds.
        """
        if len(state["streams"]) != len(self.streams):
            raise ValueError(f"the saved state has {len(state['streams'])} worlds, this run has {len(self.streams)}.")
        for stream, saved in zip(self.streams, state["streams"], strict=True):
            stream.bit_generator.state = saved
        self.attacks.load_state_dict(state.get("attacks", {}))
        if self.random_actions is not None:
            self.random_actions.load_state_dict(state["random_actions"])
        self.observations = state["observations"].numpy().copy()
        self.returns[:] = state["returns"].numpy()
        self.lengths[:] = state["lengths"].numpy()
