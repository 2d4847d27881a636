"""A toy game with a known saddle point, and a way to train on it without files."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rrl.algorithms.rarl import Game
from rrl.data import RolloutDataModule
from rrl.policies import Learner
from rrl.trpo import TrustRegion
from tests.fitting import grouped

PROTAGONIST_SADDLE, ADVERSARY_SADDLE = 0.5, -0.5


class SaddleGame(VectorEnv[Any, Any, Any]):
    """One step an episode: the reward is -(x - 0.5)^2 + (y + 0.5)^2, so the saddle point is x = 0.5, y = -0.5."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.adversary_dim, self.dt = num_envs, 1, 0.1
        self.single_observation_space = Box(-np.inf, np.inf, (1,), np.float64)
        self.single_action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros((self.num_envs, 1)), {}

    def adversary_forces(self, adversary_actions: NDArray[Any]) -> NDArray[Any]:
        return np.clip(adversary_actions, -1.0, 1.0)

    def step(self, actions: Any, forces: Any = None) -> Any:
        pushes = np.zeros_like(actions) if forces is None else forces
        rewards = -((actions[:, 0] - PROTAGONIST_SADDLE) ** 2) + (pushes[:, 0] - ADVERSARY_SADDLE) ** 2
        ended = np.ones(self.num_envs, dtype=bool)
        observations = np.zeros((self.num_envs, 1))
        infos = {"final_obs": observations.copy(), "_final_obs": ended}
        return observations, rewards.astype(np.float64), ended, np.zeros_like(ended), infos


class SaddleData(RolloutDataModule):
    """Rollouts of the saddle game."""

    def make_envs(self, num_envs: int, **_: Any) -> VectorEnv[Any, Any, Any]:
        return SaddleGame(num_envs)


def game(algorithm: type, data: RolloutDataModule, **settings: Any) -> lightning.LightningModule:
    """Make a game on data, with settings named without their groups."""
    return algorithm(data.spaces, **grouped(settings, learner=Learner, policy_update=TrustRegion, game=Game))


def fit(
    module: lightning.LightningModule, data: RolloutDataModule, *, epochs: int = 1, seed: int = 0, **options: Any
) -> lightning.Trainer:
    """Train without logger, checkpoints or progress bar."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    lightning.seed_everything(seed, verbose=False)
    trainer.fit(module, datamodule=data)
    return trainer
