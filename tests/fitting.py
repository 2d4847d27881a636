"""Small algorithms, small data and a quiet Trainer, for tests of what happens in a real fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer, seed_everything

import tests.environments  # noqa: F401  (registers the toys)
from rrl.algorithms import ADRRL, RCADRRL, TRPO, base
from rrl.algorithms.mixture import Imagination
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.data import RolloutDataModule, TrajectoryDataModule
from rrl.diffusion import FewStep, ResidualMLP, ResidualSizes, WorstOfM
from rrl.policies import Learner
from rrl.risk import QuantileLabels, RiskModel, Starts
from rrl.trpo import TrustRegion

SMALL = {"hidden_sizes": [8], "value_epochs": 2, "value_batch_size": 16}
SMALL_MODELS = {
    **SMALL,
    "denoiser": ResidualMLP(hidden_dim=16, num_layers=1),
    "return_model": ResidualSizes(hidden_dim=16, num_layers=1),
    "solver": FewStep(steps=4),
    "guidance": WorstOfM(alpha=0.25),
    "warmup": 0,
    "guidance_warmup": 0,
}


def rollouts(env_id: str = "toy/PointMass-v0", **settings: Any) -> RolloutDataModule:
    sizes = {"num_envs": 2, "num_steps": 16, "iterations_per_epoch": 2}
    return RolloutDataModule(env_id, **{**sizes, **settings})


def trajectories(env_id: str = "toy/PointMass-v0", **settings: Any) -> TrajectoryDataModule:
    sizes = {"num_envs": 2, "num_steps": 16, "iterations_per_epoch": 2, "horizon": 4, "model_updates": 2}
    more = {"model_batch_size": 8, "imagined_trajectories": 16, "buffer_size": 100, "recent_starts": 64}
    return TrajectoryDataModule(env_id, **{**sizes, **more, **settings})


def grouped(settings: dict[str, Any], **groups: type) -> dict[str, Any]:
    """Sort settings into the groups that declare them, so that tests can name them alone."""
    rest, made = dict(settings), {}
    for name, cls in groups.items():
        mine = {field.name for field in dataclasses.fields(cls)} & rest.keys()
        made[name] = cls(**{key: rest.pop(key) for key in mine})
    return made | rest


def trpo(data: RolloutDataModule, *, seed: int = 0, **settings: Any) -> TRPO:
    seed_everything(seed, verbose=False)
    return TRPO(data.spaces, **grouped(SMALL | settings, learner=Learner, policy_update=TrustRegion))


def adrrl(data: TrajectoryDataModule, *, seed: int = 0, **settings: Any) -> ADRRL:
    seed_everything(seed, verbose=False)
    models = {"world_model": WorldModelSettings, "imagination": Imagination}
    return ADRRL(data.spaces, **grouped(SMALL_MODELS | settings, learner=Learner, policy_update=TrustRegion, **models))


def rcadrrl(data: TrajectoryDataModule, *, seed: int = 0, **settings: Any) -> RCADRRL:
    seed_everything(seed, verbose=False)
    groups = {"world_model": WorldModelSettings, "imagination": Imagination, "risk_model": RiskModel, "starts": Starts}
    given = {"labels": QuantileLabels(horizon_steps=3), **SMALL_MODELS, **settings}
    return RCADRRL(data.spaces, **grouped(given, learner=Learner, policy_update=TrustRegion, **groups))


def fit(
    module: LightningModule,
    data: LightningDataModule,
    *,
    max_epochs: int = 1,
    callbacks: tuple[Callback, ...] = (),
    ckpt_path: Path | None = None,
    devices: int = 1,
) -> Trainer:
    """Train on the CPU without leaving anything behind."""
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="auto" if devices == 1 else "ddp_spawn",
        max_epochs=max_epochs,
        logger=False,
        enable_checkpointing=any(type(callback).__name__ == "BestAndLastCheckpoint" for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copy all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Name the parameters and buffers that are not what they were."""
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def recorded_bounds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that the bounds of all TRPO steps from now on are written to."""
    bounds, step = [], base.trpo_step
    monkeypatch.setattr(
        base, "trpo_step", lambda *args, **options: (bounds.append(args[-1].max_kl), step(*args, **options))[1]
    )
    return bounds
