"""`rrl tune`: trials that are trained, ended early, counted and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rrl.main import main
from rrl.study.runs import lock_folder
from tests.conftest import PROJECT
from tests.study.studies import TOY


@pytest.fixture
def tuning(workdir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    Path("space.yaml").write_text("model.init_args.alpha: {low: 0.1, high: 0.9}")
    return ["tune", TOY, "--space", "space.yaml"]


@pytest.mark.slow
def test_a_search_that_was_interrupted_goes_on_to_the_number_of_trials(tuning, capsys):
    command = [sys.executable, "-m", "rrl.main", *tuning, "--trials", "3"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 90
        while not list(Path("tuning/toy/runs").glob("trial_1_*/metrics.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert main([*tuning, "--trials", "3"]) == 0
    printed = capsys.readouterr().out
    assert "as configured: " in printed
    assert "best: trial " in printed
    states = pd.read_csv("tuning/toy/trials.csv").state.value_counts()
    assert states.get("COMPLETE", 0) + states.get("PRUNED", 0) == 3
    assert 0.1 <= yaml.safe_load(Path("tuning/toy/best.yaml").read_text())["model.init_args.alpha"] <= 0.9


@pytest.mark.slow
def test_a_robust_objective_is_the_return_in_the_worst_cells_and_is_logged_to_the_trials(tuning, workdir, capsys):
    Path("space.yaml").write_text(
        "objective: {cvar: {suite: quick, alpha: 0.5, episodes: 2}}\nmodel.init_args.alpha: {low: 0.1, high: 0.9}"
    )
    content = yaml.safe_load(Path(TOY).read_text())
    content["data"]["init_args"] = {"env_id": "Pendulum-v1"}
    Path("toy.yaml").write_text(yaml.safe_dump(content))
    assert main(["tune", "toy.yaml", "--space", "space.yaml", "--trials", "1"]) == 0
    cells = pd.read_csv("tuning/toy/cells/trial_0/cells.csv")
    worst = cells[cells.kind == "noise"].return_mean.min()  # of two cells, half is one
    assert pd.read_csv("tuning/toy/trials.csv").value.tolist() == [pytest.approx(worst)]

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{workdir / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    scores = {run.info.run_name: run.data.metrics.get("tune/score") for run in runs}
    assert scores["trial_0_task_0"] == scores["toy"] == pytest.approx(worst)
    assert scores["as_configured_task_0"] < 0

    Path("space.yaml").write_text("model.init_args.alpha: {low: 0.2, high: 0.9}")
    assert main(["tune", "toy.yaml", "--space", "space.yaml", "--trials", "1"]) == 2
    assert (
        "The search in tuning/toy was begun with another --space; choose another --output." in capsys.readouterr().err
    )


def test_a_second_search_in_the_same_folder_is_refused(tuning, capsys):
    descriptor = lock_folder(Path("tuning/toy"))
    assert main(tuning) == 2
    assert "Another study is running in tuning/toy." in capsys.readouterr().err
    os.close(descriptor)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conf/none.yaml", "--space", "space.yaml"], "There is no configuration conf/none.yaml."),
        ([TOY, "--space", "none.yaml"], "There is no search space none.yaml."),
        ([TOY, "--space", "space.yaml", "--trials", "0"], "`--trials` must be at least 1, got 0."),
        ([TOY, "--space", "space.yaml", "--steps", "9"], "`steps` needs num_envs"),
        ([TOY, "--space", "robust.yaml"], "There is no suite 'quik'; did you mean 'quick'?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tuning, arguments, message, capsys):
    suite = "objective: {cvar: {suite: quik, alpha: 0.5}}"
    Path("robust.yaml").write_text(f"{suite}\nmodel.init_args.alpha: {{low: 0.1, high: 0.9}}")
    assert main(["tune", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rrl tune: error: ")
    assert error.count("\n") == 1
    assert message in error
