"""`rrl study`: one command from files to the report, which goes on where it stopped."""

from __future__ import annotations

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from rrl.main import main
from rrl.study.runs import lock_folder
from rrl.tracking.outbox import read_lines
from tests.conftest import PROJECT
from tests.study.studies import TOY, toy_study

LONG = {
    name: {"configs": [TOY], "settings": {"trainer.max_epochs": 40, "evaluation.every_n_epochs": 20}}
    for name in ("one", "two")
}
"""Methods whose trainings last long enough to be killed."""
NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")


@pytest.fixture
def study(workdir, monkeypatch):
    """Write the file of a study of the toy, and let its trainings find the toy."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setenv("RRL_MODULES", "")  # which a study extends by the modules of its configurations
    monkeypatch.delitem(sys.modules, "tests.toy_training", raising=False)

    def write(**changes) -> list[str]:
        Path("study.yaml").write_text(yaml.safe_dump(toy_study(**changes), sort_keys=False))
        return ["study", "study.yaml"]

    return write


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table without the time they took, and sorted."""
    with path.open(encoding="utf-8") as file:
        found = [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    return sorted(found, key=lambda row: list(row.values()))


@pytest.mark.slow
def test_a_failed_training_is_named_and_the_others_reach_the_report_and_are_not_trained_again(study, workdir, capsys):
    broken = {"configs": [TOY], "settings": {"model.init_args.alpha": 7}}
    command = study(methods={"good": {"configs": [TOY]}, "broken": broken})
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "broken_swing_0 failed with exit code 2: train.py: error: `alpha` must lie in (0, 1], got 7.0." in printed
    assert "swing: no training of broken has finished; the report leaves it out." in printed
    assert "report: study/swing/report.html" in printed
    assert {row["method"]: row["exit_code"] for row in rows(Path("study/runs.csv"))} == {"good": "0", "broken": "2"}
    assert Path("study/eval_return_mean.png").is_file()

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{workdir / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("study").experiment_id
    parent, child = sorted(client.search_runs([experiment]), key=lambda run: "method" in run.data.tags)
    assert parent.info.status == "FAILED"
    assert child.data.tags["method"] == "good"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    nominal = parent.data.metrics["swing/robustness/good/nominal"]
    assert child.data.metrics["robustness/nominal"] == pytest.approx(nominal)

    checkpoint = Path("study/runs/good_swing_0/checkpoints/last.ckpt")
    before = checkpoint.stat().st_mtime_ns
    command = study(methods={"good": {"configs": [TOY]}})
    assert main(command) == 0
    assert checkpoint.stat().st_mtime_ns == before
    assert "1 trainings: 1 finished before, 0 go on, 0 new" in capsys.readouterr().out

    assert main(study(methods={"good": {"configs": [TOY], "settings": {"trainer.max_epochs": 3}}})) == 2
    assert "The run good_swing_0 in study was made with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        (
            {"method": {"TRPO": {"configs": []}}},
            [],
            "There is no setting 'method.TRPO.configs'; did you mean 'methods'?",
        ),
        ({"seeds": "2..0"}, [], "`seeds` must be different numbers"),
        ({}, ["--workers=0"], "`workers` must be at least 1, got 0."),
        ({"methods": {"a": {"configs": ["none.yaml"]}}}, [], "There is no configuration none.yaml of the method a."),
        ({"evaluation": {"suite": "quik"}}, [], "There is no suite 'quik'; did you mean 'quick'?"),
        (
            {"evaluation": {"suite": "nominal", "attacks": {"force_limits": [1.0]}}},
            [],
            "`adversary` must name the bodies of Pendulum-v1",
        ),
        ({"output": "study.yaml"}, [], "study.yaml cannot hold a study"),
        ({"methods": {"a": None}}, [], "`methods.a` must hold settings such as {configs: "),
        ({"methods": {"a": {"configs": []}}}, [], "`methods.a.configs` must name at least one file."),
        ({"tasks": {"swing": "Pendulum-v1"}}, [], "`tasks.swing` must hold settings such as {env_id: "),
        ({"evaluation": "quick"}, [], "`evaluation` must hold settings such as {suite: quick}, got 'quick'."),
        ({"methods": {"a": {"configs": ["broken.yaml"]}}}, [], "Line 1 of broken.yaml is no YAML"),
        ({"methods": {"a": {"configs": ["list.yaml"]}}}, [], "list.yaml must hold settings by name"),
        pytest.param({}, ["--ray=127.0.0.1:9"], "There is no Ray cluster at 127.0.0.1:9", marks=NEEDS_RAY),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(study, changes, arguments, message, capsys):
    Path("broken.yaml").write_text("a: [")
    Path("list.yaml").write_text("- a")
    assert main([*study(**changes), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rrl study: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not Path("study/runs").exists()


def test_without_a_file_it_says_which(study, capsys):
    assert main(["study"]) == 2
    assert "conf/studies/smoke.yaml" in capsys.readouterr().err


def test_a_second_study_in_the_same_folder_is_refused(study, capsys):
    descriptor = lock_folder(Path("study"))
    assert main(study()) == 2
    assert "Another study is running in study." in capsys.readouterr().err
    os.close(descriptor)


@pytest.mark.slow
def test_a_single_configuration_is_studied_with_several_seeds(study):
    Path("toy.yaml").write_text(Path(TOY).read_text() + "    \n".join(["", ""]))
    content = yaml.safe_load(Path(TOY).read_text())
    content["data"]["init_args"] = {"env_id": "Pendulum-v1"}
    Path("toy.yaml").write_text(yaml.safe_dump(content))
    assert main(["study", "toy.yaml", "--seeds=0..1", "--evaluation.suite=nominal"]) == 0
    assert {row["seed"] for row in rows(Path("studies/toy/runs.csv"))} == {"0", "1"}


@pytest.mark.slow
def test_a_study_that_was_killed_twice_ends_as_an_undisturbed_one(study, workdir):
    command = study(methods=LONG, seeds="0..1", workers=2)
    for number, least in ((signal.SIGKILL, 1), (signal.SIGTERM, 2)):
        with subprocess.Popen([sys.executable, "-m", "rrl.main", *command], stderr=subprocess.DEVNULL) as process:
            wait_for(lambda least=least: sum(map(checkpoint_of_run, runs())) >= least)
            process.send_signal(number)
            assert process.wait(timeout=60) in {-9, -15, 143}  # -15 where it comes before the command has begun
    assert not Path("study/swing/report.html").exists()
    assert_ends_as_an_undisturbed_one(command)


@pytest.fixture
def address(workdir, monkeypatch):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("HOME", str(workdir))  # where a cluster keeps its token
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, which are many
def test_a_study_with_a_killed_worker_ends_as_an_undisturbed_one(study, address):
    command = study(methods=LONG, seeds="0..1")
    # Other processes do not know the toy, which an evaluation has to load.
    options = [f"--ray={address}", "--evaluation.suite=null"]
    with subprocess.Popen([sys.executable, "-m", "rrl.main", *command, *options]) as process:
        wait_for(lambda: any(map(checkpoint_of_run, runs())))
        training, worker = training_and_worker()
        os.kill(worker, signal.SIGKILL)
        os.kill(training, signal.SIGKILL)
        assert process.wait(timeout=300) == 0
    assert len(rows(Path("study/runs.csv"))) == 4
    assert_ends_as_an_undisturbed_one(command)


def assert_ends_as_an_undisturbed_one(command: list[str]) -> None:
    assert main(command) == 0
    assert main([*command, "--output=whole"]) == 0
    assert rows(Path("study/curves.csv")) == rows(Path("whole/curves.csv"))
    parts, whole = (Path(name, "swing", "results.csv").read_text().splitlines() for name in ("study", "whole"))
    assert [line.replace("whole/", "study/").rpartition(",")[0] for line in whole] == [
        line.rpartition(",")[0] for line in parts
    ]


def runs() -> list[Path]:
    return list(Path("study/runs").glob("*"))


def checkpoint_of_run(folder: Path) -> bool:
    return len(read_lines(folder / "metrics.jsonl")) > 20


def wait_for(condition) -> None:
    deadline = time.monotonic() + 300  # Ray alone takes a minute to begin on a busy machine
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def training_and_worker() -> tuple[int, int]:
    """The process of a training that has begun, and that of the cluster that waits for it."""
    name = next(folder.name for folder in runs() if checkpoint_of_run(folder))
    for process in Path("/proc").glob("[0-9]*"):
        arguments = (process / "cmdline").read_bytes().split(b"\0")
        if name.encode() in arguments and b"train" in arguments:
            return int(process.name), int((process / "stat").read_text().rpartition(")")[2].split()[1])
    raise AssertionError(f"nobody trains {name}")
