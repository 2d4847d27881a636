"""`rrl tune`: trials that are trained, ended early, counted and continued."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rrl.main import main
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conf/none.yaml", "--space", "space.yaml"], "There is no configuration conf/none.yaml."),
        ([TOY, "--space", "none.yaml"], "There is no search space none.yaml."),
        ([TOY, "--space", "space.yaml", "--trials", "0"], "`--trials` must be at least 1, got 0."),
        ([TOY, "--space", "space.yaml", "--steps", "9"], "`steps` needs num_envs"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tuning, arguments, message, capsys):
    assert main(["tune", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rrl tune: error: ")
    assert error.count("\n") == 1
    assert message in error
