"""What the algorithms are for: they learn."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from lightning import seed_everything

import train
from rrl.algorithms import TRPO
from rrl.tracking.outbox import read_lines
from tests.conftest import PROJECT
from tests.fitting import fit, rollouts, sizes_of

pytestmark = pytest.mark.slow


def learn(env_id: str, *, iterations: int, num_steps: int = 64, **settings: object) -> dict[str, torch.Tensor]:
    data = rollouts(env_id, num_envs=16, num_steps=num_steps, iterations_per_epoch=iterations)
    seed_everything(0, verbose=False)
    module = TRPO(**sizes_of(data), **settings)
    return fit(module, data).callback_metrics


def histories(workdir, config: str) -> dict[str, list[float]]:
    assert train.main(["--config", str(PROJECT / "conf" / config)]) == 0
    (file,) = workdir.glob("runs/*/metrics.jsonl")
    values = defaultdict(list)
    for record in read_lines(file):
        for name, value in record["metrics"].items():
            values[name].append(value)
    return values


def test_trpo_finds_the_best_arm():
    assert learn("toy/Bandit-v0", iterations=60)["rollout/episode_return_mean"] > -0.05


def test_trpo_brings_the_point_mass_to_rest():
    assert learn("toy/PointMass-v0", iterations=1)["rollout/episode_return_mean"] < -100.0
    assert learn("toy/PointMass-v0", iterations=60)["rollout/episode_return_mean"] > -6.0


@pytest.mark.mujoco
def test_trpo_balances_the_pendulum_for_a_whole_episode(workdir):
    assert histories(workdir, "trpo_invertedpendulum.yaml")["eval/return_mean"][-1] == 1000.0


@pytest.mark.mujoco
def test_the_quickstart_learns_and_imagines_worse_returns_when_guided(workdir):
    logged = histories(workdir, "quickstart.yaml")
    assert max(logged["eval/return_mean"]) > 900.0
    assert logged["guidance/return_shift"][-1] < -0.5  # standard deviations within a start state
