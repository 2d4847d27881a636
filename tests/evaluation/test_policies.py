"""Policies are found, checked and loaded from wherever they are, and what is wrong is said in one line."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np
import pytest
import torch

import train
from rrl.algorithms import RARL
from rrl.checkpoints import CheckpointError, load_policy
from rrl.checkpoints.loading import FORMAT
from rrl.configuration import class_path
from rrl.data import RolloutDataModule
from rrl.evaluation.attacks.evaluate import AttackOptions
from rrl.evaluation.command import Evaluation
from rrl.evaluation.episodes import Trial
from rrl.evaluation.policies import find_policies, load_source, require_fit
from rrl.evaluation.settings import EvaluationSettings
from rrl.evaluation.training.checkpoint import evaluate_checkpoint
from tests.conftest import PROJECT
from tests.games import game

TASK = "InvertedPendulum-v5"
HERE = __name__
CONFIG = str(PROJECT / "conf" / "trpo_invertedpendulum.yaml")
SMALL = ["--trainer.max_epochs=1", "--data.init_args.iterations_per_epoch=1", "--evaluation.num_episodes=1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, migrated_database):
    """A working folder with two short runs of one seed each."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "mlflow.db").write_bytes(migrated_database.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr("sys.argv", ["train.py"])
        for seed in (3, 4):
            name = f"--trainer.logger.init_args.run_name=run{seed}"
            assert train.main(["--config", CONFIG, *SMALL, name, f"--seed_everything={seed}"]) == 0
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def here(runs, monkeypatch):
    monkeypatch.chdir(runs)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return runs


def load_policies(methods, env_id):
    policies = [load_source(source) for source in find_policies(methods)]
    for policy in policies:
        require_fit(policy, Trial(env_id, 1))
    return policies


def names(*entries: str):
    return [source.entry for source in find_policies({"TRPO": entries})]


@pytest.mark.mujoco
def test_files_patterns_folders_and_runs_lead_to_the_last_checkpoints(here):
    from mlflow import MlflowClient

    last = [f"runs/run{seed}/checkpoints/last.ckpt" for seed in (3, 4)]
    assert names("runs/run4/checkpoints/best.ckpt") == ["runs/run4/checkpoints/best.ckpt"]
    assert names("runs/*/checkpoints/last.ckpt") == last
    assert names("runs") == last
    assert names("runs/run*") == last
    (run,) = MlflowClient("sqlite:///mlflow.db").search_runs(["1"], "attributes.run_name = 'run4'")
    assert names(run.info.run_id) == last[1:]


@pytest.mark.mujoco
def test_a_run_whose_folder_is_gone_is_fetched_from_mlflow(here):
    from mlflow import MlflowClient

    (run,) = MlflowClient("sqlite:///mlflow.db").search_runs(["1"], "attributes.run_name = 'run3'")
    content = (here / "runs/run3/checkpoints/last.ckpt").read_bytes()
    os.rename("runs/run3", "elsewhere")
    try:
        assert names(run.info.run_id) == ["runs/run3/checkpoints/last.ckpt"]
        assert (here / "runs/run3/checkpoints/last.ckpt").read_bytes() == content
    finally:
        shutil.rmtree("runs/run3", ignore_errors=True)
        os.rename("elsewhere", "runs/run3")


@pytest.mark.mujoco
def test_a_checkpoint_acts_as_it_does_elsewhere_and_knows_its_training(here):
    first, second = load_policies({"TRPO": ["runs"]}, "rrl/InvertedPendulumAdv-v1")
    observations = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(first.act(observations), load_policy(first.label.policy).act(observations))
    assert [policy.label.train_seed for policy in (first, second)] == [3, 4]
    assert first.env_steps == 16 * 64
    assert first.mark["run_name"] == "run3"
    assert first.adversary is None


@pytest.mark.mujoco
def test_a_checkpoint_of_a_game_brings_its_own_adversary(tmp_path):
    env_id = "rrl/InvertedPendulumAdv-v1"
    module = game(RARL, RolloutDataModule(env_id, num_envs=1))
    worlds = {"env_id": env_id, "env_kwargs": {}, "seed": 3}
    mark = {"format": FORMAT, "version": "0", "run_id": None, "run_name": None, "tracking_uri": None}
    mark |= {"algorithm": class_path(RARL), "worlds": worlds}
    content = {"rrl": mark, "state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    torch.save(content, tmp_path / "last.ckpt")
    (policy,) = load_policies({"RARL": [str(tmp_path)]}, TASK)
    assert policy.battlefield.env_id == env_id
    attacker = policy.adversary((2, 2), 0)
    assert attacker(np.ones((2, 4)), np.zeros(2, dtype=bool)).shape == (2, 2)


@pytest.mark.mujoco
def test_a_checkpoint_is_read_once_in_a_whole_evaluation(here, tmp_path, monkeypatch):
    reads, read = [], torch.load
    monkeypatch.setattr(torch, "load", lambda path, **options: reads.append(str(path)) or read(path, **options))
    attacks = AttackOptions(force_limits=[5.0], restarts=0)
    settings = {"env_id": TASK, "policies": {"TRPO": ["runs"]}, "suite": "nominal", "episodes": 1, "attacks": attacks}
    rows = Evaluation(EvaluationSettings(**settings, output=str(tmp_path))).run()
    assert {row.policy for row in rows} == set(reads)
    assert len(reads) == 2


def test_the_evaluation_of_a_checkpoint_reads_it_once(here, monkeypatch):
    reads, read = [], torch.load
    monkeypatch.setattr(torch, "load", lambda path, **options: reads.append(str(path)) or read(path, **options))
    evaluate_checkpoint("runs/run3/checkpoints/last.ckpt", 1)
    assert reads == ["runs/run3/checkpoints/last.ckpt"]


@pytest.mark.mujoco
def test_a_function_gives_a_policy(tmp_path, monkeypatch):
    (tmp_path / "my_policies.py").write_text(
        "def still():\n    return lambda observations: observations[:, :1] * 0.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (policy,) = load_policies({"still": ["my_policies:still"]}, TASK)
    np.testing.assert_array_equal(policy.act(np.ones((2, 4))), np.zeros((2, 1)))
    assert tuple(policy.label) == ("still", "my_policies:still", 0)
    sys.modules.pop("my_policies")


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("entries", "env_id", "message"),
    [
        (["missing.ckpt"], TASK, r"There is no checkpoint, folder, run or function missing\.ckpt\."),
        (["runs/*/none.ckpt"], TASK, r"Nothing matches runs/\*/none\.ckpt in /"),
        (["mlflow.db"], TASK, r"A policy is a \.ckpt or a \.zip file, got mlflow\.db\."),
        (["empty"], TASK, r"The folder empty holds neither last\.ckpt nor \.zip files\."),
        (["runs", "runs/run3"], TASK, r"run3/checkpoints/last\.ckpt is named twice for 'A'"),
        (["runs"], "Hopper-v5", r"last\.ckpt was trained on InvertedPendulum-v5, the evaluation is on Hopper-v5\."),
        (["0" * 32], TASK, r"The last checkpoint of run 0+ cannot be had from sqlite"),
        (["no.such:f"], TASK, r"^no\.such:f must be an importable module:function, but there is no module no\.$"),
        (["tests.pie:f"], TASK, r"^tests\.pie:f must be .*, but there is no module tests\.pie\.$"),
        (
            [f"{HERE}:wrong_sizes"],
            TASK,
            r":wrong_sizes must be .*, but the module .* has no function wrong_sizes; did you mean 'wrong_size'\?$",
        ),
        ([f"{HERE}:TASK"], TASK, r":TASK must be a function that returns the policy, got str\.$"),
        ([f"{HERE}:one"], TASK, r":one must take no argument and return the policy, but .* \(TypeError: .*\)\.$"),
        (["os:getcwd"], TASK, r"^os:getcwd must be a function of a module of yours; list os in RRL_MODULES"),
        (["torch:seed"], TASK, r"^torch:seed must be a function of a module of yours"),
        (["tests.evaluation.test_policies:failing"], TASK, r"but calling it failed \(OSError: no weights\)\.$"),
        (["tests.evaluation.test_policies:number"], TASK, r"test_policies:number must return a callable, got int\.$"),
        (["tests.evaluation.test_policies:wrong_shape"], TASK, r"must answer 2 observations .* got shape \[2, 4\]"),
        (["tests.evaluation.test_policies:wrong_size"], TASK, r"cannot act on the 4 observations of InvertedPendulum"),
        ([], TASK, "`policies` has no entries for 'A'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(here, entries, env_id, message):
    with pytest.raises(ValueError, match=message) as raised:
        load_policies({"A": entries}, env_id)
    assert "\n" not in str(raised.value)


@pytest.mark.mujoco
def test_damaged_files_are_named(tmp_path):
    (tmp_path / "bad.ckpt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"bad\.ckpt is not a checkpoint, or is damaged\."):
        load_policies({"A": [str(tmp_path / "bad.ckpt")]}, TASK)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import not_there_either", "ModuleNotFoundError: No module named 'not_there_either'"),
        ("def (", "SyntaxError: "),
        ("raise RuntimeError", "RuntimeError)"),
    ],
)
def test_a_module_that_breaks_on_import_is_told_from_one_that_is_not_there(tmp_path, monkeypatch, content, reason):
    (tmp_path / "breaks_on_import.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match="but importing the module breaks_on_import failed") as raised:
        load_policies({"A": ["breaks_on_import:policy"]}, TASK)
    assert reason in str(raised.value)


def one(number):
    return number


def failing():
    raise OSError("no weights")


def number():
    return 3


def wrong_shape():
    return lambda observations: observations


def wrong_size():
    return lambda observations: observations @ np.ones((7, 1))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_method_must_not_be_a_formula(name):
    with pytest.raises(ValueError, match="must not begin with = \\+ - @, which spreadsheets compute"):
        find_policies({name: ["tests.evaluation.controllers:limp"]})
