"""The smallest algorithm and data that `train.py` can run: a linear policy that learns to act with the mean 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from rrl.configuration import to_plain
from rrl.spaces import Spaces

STEPS = 8


class ToyAlgorithm(LightningModule):
    """Moves its mean action towards 1 and counts the steps it has seen."""

    env_steps: Tensor

    def __init__(
        self,
        spaces: Spaces,
        alpha: float = 0.1,
        fail_at: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 < alpha <= 1:
            raise ValueError(f"`alpha` must lie in (0, 1], got {alpha}.")
        self.spaces, self.fail_at = spaces, fail_at
        self.save_hyperparameters(to_plain({"spaces": spaces, "alpha": alpha, "fail_at": fail_at}), logger=False)
        self.automatic_optimization = False
        self.mean = torch.nn.Linear(spaces.obs_dim, spaces.action_dim)
        self.register_buffer("env_steps", torch.tensor(0))

    def rollout_actor(self) -> ToyAlgorithm:
        return self

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        return self.mean(observations) + 0.1 * noise

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        self.env_steps += len(batch)
        if self.fail_at is not None and self.env_steps >= self.fail_at:
            raise RuntimeError("The toy failed as it was told.")
        loss = (self.mean(batch + 0.01 * torch.randn_like(batch)) - 1).square().mean()
        optimizer = self.optimizers()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        self.log_dict({
            "time/env_steps": self.env_steps.float(),
            "rollout/episode_return_mean": -loss.detach(),
        })

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


class ToyIterations(IterableDataset[Tensor]):
    """A sized stream of batches."""

    def __init__(self, data: ToyData) -> None:
        self._data = data

    def __len__(self) -> int:
        return self._data.iterations_per_epoch

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(len(self)):
            yield torch.randn(STEPS, self._data.spaces.obs_dim, generator=self._data.generator)


class ToyData(LightningDataModule):
    """Random observations of the size of Pendulum's."""

    def __init__(
        self,
        env_id: str = "Pendulum-v1",
        iterations_per_epoch: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if env_id != "Pendulum-v1":
            raise ValueError(f"There is no environment {env_id!r}.")
        self.env_id, self.env_kwargs, self.seed = env_id, None, seed
        self.iterations_per_epoch = iterations_per_epoch
        self.spaces = Spaces(3, 1, [-2.0], [2.0])
        self.generator = torch.Generator().manual_seed(seed)

    def train_dataloader(self) -> DataLoader[Tensor]:
        # A loader without a generator of its own draws from the global one whenever an epoch is begun or resumed.
        return DataLoader(ToyIterations(self), batch_size=None, generator=torch.Generator())

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.generator.set_state(state_dict["generator"])
