"""`evaluate.py`: the table, the log, and what cannot be evaluated."""

from __future__ import annotations

import re

import pytest
import torch

import evaluate
import train
from tests.conftest import PROJECT


@pytest.fixture
def checkpoint(workdir, capsys):
    config = str(PROJECT / "tests" / "conf" / "toy.yaml")
    assert train.main(["--config", config, "--trainer.max_epochs", "1"]) == 0
    (path,) = workdir.glob("runs/*/checkpoints/best.ckpt")
    capsys.readouterr()
    return path


def test_evaluation_is_printed_and_logged_to_the_training_run(checkpoint, workdir, capsys):
    from mlflow import MlflowClient

    assert evaluate.main(["--checkpoint", str(checkpoint), "--episodes", "5"]) == 0
    printed = capsys.readouterr().out
    mean = float(re.search(r"return, mean +reward +(-?[\d.]+)", printed)[1])
    (run,) = MlflowClient(tracking_uri=f"sqlite:///{workdir / 'mlflow.db'}").search_runs(["1"])
    assert run.data.metrics["evaluation/return_mean"] == pytest.approx(mean, abs=0.05)
    assert run.data.metrics["evaluation/episodes"] == 5
    assert run.data.metrics["evaluation/return_mean_low"] <= run.data.metrics["evaluation/return_mean"]
    assert re.search(r"episode length +steps +200\.0", printed)
    assert run.info.run_id in printed


def test_same_checkpoint_gives_the_same_table(checkpoint, capsys):
    outputs = []
    for _ in range(2):
        assert evaluate.main(["--checkpoint", str(checkpoint), "--episodes", "3"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_single_episode_has_no_interval_and_says_so(checkpoint, workdir, capsys):
    from mlflow import MlflowClient

    assert evaluate.main(["--checkpoint", str(checkpoint), "--episodes", "1"]) == 0
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert re.search(r"return, mean +reward +-?[\d.]+ +none\n", printed)
    assert "A single episode leaves no interval." in printed
    (run,) = MlflowClient(tracking_uri=f"sqlite:///{workdir / 'mlflow.db'}").search_runs(["1"])
    logged = {name for name in run.data.metrics if name.startswith("evaluation/")}
    assert "evaluation/return_mean" in logged
    assert not any(name.endswith(("_low", "_high")) for name in logged)


def test_missing_database_is_not_created(checkpoint, workdir, capsys):
    (workdir / "mlflow.db").unlink()
    assert evaluate.main(["--checkpoint", str(checkpoint), "--episodes", "2"]) == 0
    assert "Not logged: there is no database" in capsys.readouterr().out
    assert not (workdir / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "missing"], "There is no checkpoint at missing."),
        (["--checkpoint", "missing", "--episodes", "0"], "`--episodes` must be at least 1, got 0."),
        (["--checkpoint", "missing", "--episodes", "x"], "Argument --episodes: invalid int value: 'x'. See --help."),
        (
            ["--checkpoint", "missing", "--episode", "3"],
            "There is no option --episode; did you mean '--episodes'? See --help.",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert evaluate.main(arguments) == 2
    assert capsys.readouterr().err == f"evaluate.py: error: {message}\n"


@pytest.mark.parametrize("part", ["mark", "parameters"])
def test_checkpoint_that_is_not_ours_is_refused_and_leaves_nothing(part, checkpoint, tmp_path, monkeypatch, capsys):
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    if part == "mark":
        del content["rrl"]
    else:
        content["state_dict"]["mean.weight"] = torch.zeros(1, 5)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    torch.save(content, "foreign.ckpt")
    assert evaluate.main(["--checkpoint", "foreign.ckpt"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"evaluate.py: error: foreign.ckpt (is not a checkpoint that rrl|holds a ToyAlgorithm whose)", line)
    assert [path.name for path in folder.iterdir()] == ["foreign.ckpt"]


@pytest.mark.parametrize("worlds", [None, {}, {"env_id": 3, "seed": 0, "env_kwargs": None}])
def test_checkpoint_without_worlds_is_refused(worlds, checkpoint, capsys):
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    content["rrl"]["worlds"] = worlds
    torch.save(content, checkpoint)
    assert evaluate.main(["--checkpoint", str(checkpoint)]) == 2
    assert "does not say in which worlds it was trained." in capsys.readouterr().err


def test_server_that_only_a_checkpoint_names_is_not_contacted(checkpoint, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    content["rrl"]["tracking_uri"] = "http://127.0.0.1:9"
    torch.save(content, checkpoint)
    assert evaluate.main(["--checkpoint", str(checkpoint), "--episodes", "2"]) == 0
    wanted = (
        "Not logged: the checkpoint names the server http://127.0.0.1:9; set MLFLOW_TRACKING_URI to it to log there."
    )
    assert wanted in capsys.readouterr().out
