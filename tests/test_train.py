"""`train.py` from the outside: what a run leaves behind, how it continues, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

import train
from rrl.checkpoints import BestAndLastCheckpoint, read_checkpoint
from rrl.tracking.outbox import read_lines
from tests.conftest import PROJECT

TOY = ["--config", str(PROJECT / "tests" / "conf" / "toy.yaml")]


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def client_of(folder: Path):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def runs_of(folder: Path):
    return client_of(folder).search_runs(["1"])


def test_the_last_lines_say_where_the_results_are(workdir, capsys):
    assert train.main(TOY) == 0
    printed = capsys.readouterr().out
    assert str(only(workdir, "runs/*/checkpoints/last.ckpt")) in printed
    assert f"mlflow ui --backend-store-uri sqlite:///{workdir / 'mlflow.db'} " in printed


def test_process_leaves_checkpoints_config_and_metrics_against_env_steps(workdir):
    command = [sys.executable, str(PROJECT / "train.py"), *TOY]
    process = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, check=False)
    assert process.returncode == 0

    (run,) = runs_of(workdir)
    assert run.info.status == "FINISHED"
    assert run.data.tags["algo"] == "ToyAlgorithm"
    assert run.data.tags["env"] == "Pendulum-v1"
    assert run.data.tags["seed"] == "0"
    assert run.data.params["model.alpha"] == "0.1"
    assert not {"config", "__default_config__"} & run.data.params.keys()
    (environment,) = run.inputs.dataset_inputs
    assert environment.dataset.name == "Pendulum-v1"
    description, model = (run.data.tags[name] for name in ("mlflow.note.content", "mlflow.log-model.history"))
    assert "ToyAlgorithm on Pendulum-v1, seed 0" in description
    assert "in the last evaluation, after 64 environment steps." in description
    assert json.loads(model)[0]["artifact_path"] == "policy_model"
    history = client_of(workdir).get_metric_history(run.info.run_id, "rollout/episode_return_mean")
    assert [metric.step for metric in history] == [8 * n for n in range(1, 9)]
    evaluations = client_of(workdir).get_metric_history(run.info.run_id, "eval/return_mean")
    assert [metric.step for metric in evaluations] == [32, 64]
    experiment = client_of(workdir).get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    uploaded = workdir / "mlruns" / run.info.run_id / "artifacts"
    assert {path.name for path in uploaded.iterdir()} == {"checkpoints", "config.yaml", "figures", "policy_model"}
    assert {path.name for path in (uploaded / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_resumed_run_ends_as_an_uninterrupted_one_in_the_same_mlflow_run(workdir):
    assert train.main([*TOY, "--trainer.max_epochs", "3", "--trainer.logger.init_args.run_name", "whole"]) == 0
    assert train.main([*TOY, "--trainer.max_epochs", "1", "--trainer.logger.init_args.run_name", "parts"]) == 0
    torch.randn(7)  # whatever happens to the global streams in between does not matter
    last = str(workdir / "runs" / "parts" / "checkpoints" / "last.ckpt")
    assert train.main([*TOY, "--trainer.max_epochs", "3", "--ckpt_path", last]) == 0

    whole = read_checkpoint(workdir / "runs" / "whole" / "checkpoints" / "last.ckpt")["state_dict"]
    parts = read_checkpoint(last)["state_dict"]
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    runs = {run.info.run_name: run for run in runs_of(workdir)}
    assert runs.keys() == {"whole", "parts"}
    assert runs["parts"].info.status == "FINISHED"
    history = client_of(workdir).get_metric_history(runs["parts"].info.run_id, "rollout/episode_return_mean")
    assert [metric.step for metric in history] == [8 * n for n in range(1, 13)]


def test_same_seed_gives_same_metrics(workdir):
    for name in ("first", "second"):
        assert train.main([*TOY, "--trainer.logger.init_args.run_name", name]) == 0
    first, second = (
        [record["metrics"] for record in read_lines(workdir / "runs" / name / "metrics.jsonl")]
        for name in ("first", "second")
    )
    assert first == second


def test_recorded_config_starts_a_run_of_its_own(workdir):
    assert train.main(TOY) == 0
    recorded = only(workdir, "runs/*/config.yaml")
    assert train.main(["--config", str(recorded)]) == 0
    assert len(list((workdir / "runs").iterdir())) == len(runs_of(workdir)) == 2


def test_error_in_training_marks_the_run_failed_and_keeps_the_last_good_checkpoint(workdir):
    with pytest.raises(RuntimeError, match="as it was told"):
        train.main([*TOY, "--model.init_args.fail_at", "40"])
    (run,) = runs_of(workdir)
    assert run.info.status == "FAILED"
    checkpoints = only(workdir, "runs/*/checkpoints")
    assert read_checkpoint(checkpoints / "last.ckpt")["state_dict"]["env_steps"] == 32
    assert read_checkpoint(checkpoints / "failed.ckpt")["state_dict"]["env_steps"] == 40


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_process_leaves_a_checkpoint_that_continues_exactly(workdir, number, code):
    arguments = [*TOY, "--evaluation.every_n_epochs", "100000", "--trainer.logger.init_args.run_name", "stopped"]
    command = [sys.executable, str(PROJECT / "train.py"), *arguments, "--trainer.max_epochs", "100000"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        metrics = workdir / "runs" / "stopped" / "metrics.jsonl"
        deadline = time.monotonic() + 300  # on a machine that is busy with other things
        while len(read_lines(metrics)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(timeout=120) == code

    (run,) = runs_of(workdir)
    assert run.info.status == "KILLED"
    last = workdir / "runs" / "stopped" / "checkpoints" / "last.ckpt"
    steps = int(read_checkpoint(last)["state_dict"]["env_steps"])
    epochs = steps // 32 + 1
    assert train.main([*arguments, "--trainer.max_epochs", str(epochs), "--ckpt_path", str(last)]) == 0
    resumed = read_checkpoint(last)["state_dict"]
    arguments[-1] = "whole"
    assert train.main([*arguments, "--trainer.max_epochs", str(epochs)]) == 0
    whole = read_checkpoint(workdir / "runs" / "whole" / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


class InterruptAt(Callback):
    """Presses Ctrl-C at the beginning of an iteration, once or twice; the toy's epochs have four."""

    def __init__(self, iteration: int, presses: int) -> None:
        self.iteration, self.presses = iteration, presses

    def on_train_batch_start(self, trainer, *_: object) -> None:
        if trainer.global_step + 1 == self.iteration:
            for _press in range(self.presses):
                signal.raise_signal(signal.SIGINT)


def interrupted(workdir, monkeypatch, iteration: int, presses: int = 1) -> Path:
    """Start a run that is interrupted, and return its last checkpoint."""
    monkeypatch.setattr("rrl.cli.FigureCallback", lambda: InterruptAt(iteration, presses))
    assert train.main([*TOY, "--trainer.logger.init_args.run_name", "run"]) == 130
    monkeypatch.undo()
    monkeypatch.chdir(workdir)
    return workdir / "runs" / "run" / "checkpoints" / "last.ckpt"


def same_as_uninterrupted(workdir: Path, last: Path) -> bool:
    assert train.main([*TOY, "--ckpt_path", str(last)]) == 0
    assert train.main([*TOY, "--trainer.logger.init_args.run_name", "whole"]) == 0
    parts = read_checkpoint(last)["state_dict"]
    whole = read_checkpoint(workdir / "runs" / "whole" / "checkpoints" / "last.ckpt")["state_dict"]
    return all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(("iteration", "steps"), [(3, 24), (4, 32), (6, 48)])
def test_ctrl_c_in_any_iteration_loses_neither_steps_nor_the_evaluation_of_a_due_epoch(
    workdir, monkeypatch, iteration, steps
):
    last = interrupted(workdir, monkeypatch, iteration)
    assert read_checkpoint(last)["state_dict"]["env_steps"] == steps
    assert same_as_uninterrupted(workdir, last)
    evaluated = [
        record["step"]
        for record in read_lines(workdir / "runs" / "run" / "metrics.jsonl")
        if "eval/return_mean" in record["metrics"]
    ]
    assert evaluated == [32, 64]


def test_a_second_ctrl_c_keeps_the_last_good_checkpoint(workdir, monkeypatch):
    last = interrupted(workdir, monkeypatch, 6, presses=2)
    assert read_checkpoint(last)["state_dict"]["env_steps"] == 32
    assert same_as_uninterrupted(workdir, last)


@pytest.mark.parametrize("epoch", [0, 1])
def test_run_that_ends_right_after_a_checkpoint_loses_nothing(workdir, monkeypatch, epoch):
    saves = BestAndLastCheckpoint.on_train_epoch_end

    def save_and_end(checkpoint, trainer, module):
        saves(checkpoint, trainer, module)
        if trainer.current_epoch == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(BestAndLastCheckpoint, "on_train_epoch_end", save_and_end)
    assert train.main([*TOY, "--trainer.logger.init_args.run_name", "run"]) == 130
    models = []
    monkeypatch.setattr(BestAndLastCheckpoint, "on_train_epoch_end", saves)
    monkeypatch.setattr("rrl.serving.model.save_model", lambda *args: models.append(args))
    run = workdir / "runs" / "run"
    shutil.rmtree(run / "figures")
    assert train.main([*TOY, "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]) == 0
    evaluated = [record for record in read_lines(run / "metrics.jsonl") if "eval/return_mean" in record["metrics"]]
    assert [record["step"] for record in evaluated] == [32, 64]
    assert len(models) == 1
    assert (run / "figures" / "learning_curve.png").exists()
    assert {path.name for path in workdir.glob("mlruns/*/artifacts/*/*")} >= {"last.ckpt", "best.ckpt"}


def test_run_that_was_killed_before_its_first_checkpoint_can_be_started_again(workdir, monkeypatch):
    last = interrupted(workdir, monkeypatch, 2, presses=2)
    assert not last.exists()
    assert len(read_lines(workdir / "runs" / "run" / "metrics.jsonl")) == 1
    named = [*TOY, "--trainer.logger.init_args.run_name", "run"]
    assert train.main(named) == 0
    assert len(read_lines(workdir / "runs" / "run" / "metrics.jsonl")) == 10
    assert train.main(named) == 2, "it has a checkpoint now"


def test_moved_run_goes_on_where_it_is_and_keeps_its_best_checkpoint(workdir):
    assert train.main([*TOY, "--trainer.logger.init_args.run_name", "run"]) == 0
    best = workdir / "runs" / "run" / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    state = next(value for name, value in content["callbacks"].items() if "BestAndLast" in name)
    assert state["best_model_path"] == "best.ckpt"
    moved = workdir / "kept" / "of June"
    moved.parent.mkdir()
    (workdir / "runs" / "run").rename(moved)
    last = moved / "checkpoints" / "last.ckpt"
    assert train.main([*TOY, "--trainer.max_epochs", "3", "--ckpt_path", str(last)]) == 0
    assert list((workdir / "runs").iterdir()) == []
    assert read_checkpoint(last)["state_dict"]["env_steps"] == 96
    assert len(read_lines(moved / "metrics.jsonl")) == 15
    (run,) = runs_of(workdir)
    assert run.info.status == "FINISHED"


def test_address_that_can_never_work_is_refused_before_a_file_is_written(workdir, capsys):
    assert train.main([*TOY, "--trainer.logger.init_args.tracking_uri", "htp://127.0.0.1:1"]) == 2
    assert "`tracking_uri` must be the address of a server" in capsys.readouterr().err
    assert [path.name for path in workdir.iterdir()] == ["mlflow.db"]


def test_help_is_short_and_nothing_at_all_is_answered_with_it(workdir, capsys):
    assert train.main(["--help"]) == 0
    assert train.main([]) == 2
    printed = capsys.readouterr().out
    assert printed.count("conf/quickstart.yaml") == 2
    assert printed.count("\n") < 2 * 20
