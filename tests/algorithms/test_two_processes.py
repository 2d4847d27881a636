"""Two processes train one algorithm: they stay equal, and it is the algorithm of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning import Callback

from rrl.a2c import A2C
from rrl.algorithms import RCRARL
from rrl.checkpoints import read_checkpoint
from rrl.data import RolloutDataModule
from rrl.diffusion import NoiseConditional
from rrl.risk import Gate, HorizonLabels, Restarts
from rrl.trpo import TrustRegion
from tests.conftest import PROJECT
from tests.fitting import adrrl, fit, rcadrrl, rollouts, trajectories, trpo
from tests.games import game


class Keep(Callback):
    """Writes what every process holds at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        torch.save(pl_module.state_dict(), self.folder / f"{trainer.world_size}-{trainer.global_rank}.pt")


def states(folder: Path, world_size: int) -> list[dict[str, torch.Tensor]]:
    return [torch.load(folder / f"{world_size}-{rank}.pt") for rank in range(world_size)]


def test_trpo_on_two_processes_is_trpo_on_one(tmp_path):
    for devices in (1, 2):
        data = rollouts(num_envs=4, iterations_per_epoch=1)
        # All samples at once, since each process would draw its own minibatches.
        module = trpo(data, fisher_fraction=1.0, value_batch_size=1000)
        fit(module, data, callbacks=(Keep(tmp_path),), devices=devices)
    (alone,), (first, second) = states(tmp_path, 1), states(tmp_path, 2)
    for name in alone:
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], alone[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("policy_update", [TrustRegion(), A2C()], ids=type)
def test_adrrl_stays_equal_on_both_processes(tmp_path, policy_update):
    data = trajectories(num_envs=4, iterations_per_epoch=3)
    rule = NoiseConditional(alpha=0.25, target="cvar")
    module = adrrl(data, guidance=rule, policy_update=policy_update, spread_from_imagination=True)
    fit(module, data, callbacks=(Keep(tmp_path),), devices=2)
    first, second = states(tmp_path, 2)
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert first["env_steps"] == 3 * 16 * 4


@pytest.mark.slow
def test_rcadrrl_stays_equal_on_both_processes(tmp_path):
    data = trajectories(num_envs=4, iterations_per_epoch=3, start_candidates=3)
    fit(rcadrrl(data), data, callbacks=(Keep(tmp_path),), devices=2)
    first, second = states(tmp_path, 2)
    assert first["risk.num_fits"] == 3
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0.0, atol=0.0, equal_nan=True, msg=name)


@pytest.mark.slow
@pytest.mark.mujoco
def test_rcrarl_has_the_same_risk_and_gate_on_both_processes(tmp_path):
    data = RolloutDataModule("rrl/Hopper6Adv-v1", num_envs=4, num_steps=48, iterations_per_epoch=4)
    settings = {"labels": HorizonLabels(horizon_steps=10), "gate": Gate(min_open_steps=1), "restarts": Restarts()}
    module = game(RCRARL, data, **settings, hidden_sizes=[8])
    fit(module, data, callbacks=(Keep(tmp_path),), devices=2)
    first, second = states(tmp_path, 2)
    assert first["risk.calibrator.fitted"]
    assert first["risk.states.num_states"] > 2 * 30  # those of both processes
    assert first["risk.states.stored_labels"].any()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0.0, atol=0.0, equal_nan=True, msg=name)


@pytest.mark.slow
@pytest.mark.mujoco
def test_train_runs_on_two_processes_and_leaves_one_run_that_resumes(workdir):
    small = ["--data.init_args.num_envs=4", "--data.init_args.num_steps=16", "--data.init_args.iterations_per_epoch=2"]
    config = PROJECT / "conf" / "trpo_invertedpendulum.yaml"
    command = [sys.executable, str(PROJECT / "train.py"), "--config", str(config), *small]
    command += ["--evaluation.num_episodes=1", "--trainer.devices=2", "--trainer.strategy=ddp"]

    def run(*more: str) -> Path:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run([*command, *more], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        (last,) = workdir.glob("runs/*/checkpoints/last.ckpt")
        return last

    last = run("--trainer.max_epochs=1")
    last = run("--trainer.max_epochs=2", f"--ckpt_path={last}")
    checkpoint = read_checkpoint(last)
    assert checkpoint["state_dict"]["env_steps"] == 2 * 2 * 16 * 4
    assert len(checkpoint["RolloutDataModule"]["ranks"]) == 2
