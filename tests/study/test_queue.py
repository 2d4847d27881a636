"""Trainings side by side, here of a process that only counts: what ends how, what is begun, what is left alone."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rrl.study import runs as module
from rrl.study.plan import StudyError, StudyRun
from rrl.study.queue import TrainingQueue, core_shares, fraction_done
from rrl.study.runs import lock_folder, read_record, train, train_elsewhere

COUNT = "import sys, pathlib; pathlib.Path(sys.argv[1]).open('a').write('x'); sys.exit(int(sys.argv[2]))"


def run_of(folder: Path, method: str, code: int = 0, settings: str = "same") -> StudyRun:
    return StudyRun(method, "task", 0, folder, (str(folder / f"{method}.count"), str(code)), settings, 100)


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    """Train by writing a letter to a file and ending with the exit code that is asked for."""
    monkeypatch.setattr(module, "_command", lambda run, _: [sys.executable, "-S", "-c", COUNT, *run.arguments])


def train_all(runs: list[StudyRun], workers: int = 2) -> dict[str, int | None]:
    found = TrainingQueue(workers).run(runs, {run: {} for run in runs})
    return {run.method: record.exit_code for run, record in found}


def test_one_that_fails_does_not_stop_the_others_and_only_it_is_tried_again(tmp_path):
    runs = [run_of(tmp_path, "a"), run_of(tmp_path, "b", code=3), run_of(tmp_path, "c")]
    assert train_all(runs) == {"a": 0, "b": 3, "c": 0}
    assert train_all(runs) == {"a": 0, "b": 3, "c": 0}
    counts = {run.method: len((tmp_path / f"{run.method}.count").read_text()) for run in runs}
    assert counts == {"a": 1, "b": 2, "c": 1}


def test_the_record_knows_the_exit_code_and_refuses_other_settings(tmp_path):
    assert read_record(run_of(tmp_path, "a")) is None
    train_all([run_of(tmp_path, "a", code=7)])
    record = read_record(run_of(tmp_path, "a"))
    assert record is not None
    assert record.exit_code == 7
    assert record.seconds > 0
    with pytest.raises(StudyError, match="was made with other settings"):
        read_record(run_of(tmp_path, "a", settings="others"))
    (tmp_path / "records" / "a_task_0.json").write_text("{")
    with pytest.raises(StudyError, match="is damaged"):
        read_record(run_of(tmp_path, "a"))


def test_a_training_that_a_killed_study_has_left_behind_is_waited_for(tmp_path):
    run = run_of(tmp_path, "a")
    (tmp_path / "records").mkdir()
    descriptor = os.open(tmp_path / "records" / "a_task_0.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1.2)"], pass_fds=[descriptor]) as left:
        os.close(descriptor)
        assert train_all([run]) == {"a": 0}
        assert left.poll() is not None


def test_a_training_elsewhere_needs_to_see_the_lock_of_the_study(tmp_path):
    run = run_of(tmp_path / "study", "a")
    with pytest.raises(StudyError, match=r"does not see that a study runs in .*/study: all machines must share"):
        train_elsewhere(run, {})
    descriptor = lock_folder(run.output)
    assert train_elsewhere(run, {}).exit_code == 0
    os.close(descriptor)
    with pytest.raises(StudyError, match="does not see"):
        train_elsewhere(run_of(tmp_path / "study", "b"), {})


def test_an_interrupted_main_thread_ends_its_training(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_command", lambda *_: [sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    processes = []

    def started(process):
        processes.append(process)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    run = run_of(tmp_path, "a")
    # Whoever is started in the background of a script ignores Ctrl-C from the beginning.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(run, {}, started, threading.Event())
    finally:
        signal.signal(signal.SIGINT, before)
    assert processes[0].poll() == -signal.SIGTERM
    record = read_record(run)
    assert record is not None
    assert record.exit_code == -signal.SIGTERM


def test_the_bar_counts_each_training_as_soon_as_it_has_ended(tmp_path, capsys):
    runs = [run_of(tmp_path, name) for name in "ab"]
    found = TrainingQueue(1).run(runs, {run: {} for run in runs})
    for number, _ in enumerate(found, 1):
        assert f"({number} of 2): {50 * number:3}%" in capsys.readouterr().err


def test_what_is_left_of_a_study_that_ends_early_is_not_begun(tmp_path):
    runs = [run_of(tmp_path, name) for name in "abcdef"]
    found = TrainingQueue(1).run(runs, {run: {} for run in runs})
    next(found)
    found.close()
    assert not (tmp_path / "f.count").exists()


def test_several_workers_share_the_cores_and_one_has_all():
    assert core_shares(1) == [set()]
    shares = core_shares(2)
    if hasattr(os, "sched_getaffinity"):
        assert set.union(*shares) == os.sched_getaffinity(0)


def test_a_run_is_as_far_as_its_steps(tmp_path):
    run = run_of(tmp_path, "a")
    run.folder.mkdir(parents=True)
    (run.folder / "metrics.jsonl").write_text('{"step": 25, "metrics": {}}\n')
    assert fraction_done(run) == 0.25
