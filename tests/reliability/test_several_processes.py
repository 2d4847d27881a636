"""Runs of two processes: stopped, bereft of one, and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.reliability.runs import differences, in_mlflow, last_checkpoint, state_of

TOY = ["--config", str(PROJECT / "tests" / "conf" / "toy.yaml"), "--trainer.logger.init_args.run_name=run"]
ENDLESS = ["--trainer.max_epochs=100000", "--evaluation.every_n_epochs=100000"]
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]

LONG = 400
"""Seconds after which something hangs, also on a machine that is busy with other things."""

pytestmark = pytest.mark.slow


@contextmanager
def training(folder: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Train in processes of their own, whose output is kept."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(PROJECT / "train.py"), *TOY, *args]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=output, stdout=output, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_metrics(folder: Path, lines: int, process: subprocess.Popen[str]) -> None:
    metrics, deadline = folder / "runs" / "run" / "metrics.jsonl", time.monotonic() + LONG
    while not (metrics.exists() and metrics.read_text().count("\n") >= lines):
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < deadline, (folder / "output").read_text()
        time.sleep(0.02)


def other_process(process: subprocess.Popen[str]) -> int:
    """Return the process that the first one has started."""
    (children,) = Path(f"/proc/{process.pid}/task").glob(f"{process.pid}/children")
    return int(children.read_text().split()[0])


@pytest.mark.parametrize(
    ("number", "everybody", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGINT, False, 130), (signal.SIGTERM, False, 143)],
)
def test_two_processes_stop_together_and_continue_exactly(workdir, number, everybody, code):
    with training(workdir, *TWO, *ENDLESS) as process:
        wait_for_metrics(workdir, 3, process)
        (os.killpg if everybody else os.kill)(process.pid, number)
        assert process.wait(LONG) == code, (workdir / "output").read_text()
    last = last_checkpoint(workdir)
    assert [status for status, _ in in_mlflow(workdir).values()] == ["KILLED"]
    steps = int(state_of(last)["state_dict"]["env_steps"])
    epochs = f"--trainer.max_epochs={steps // 32 + 1}"
    with training(workdir, *TWO, *ENDLESS, epochs, f"--ckpt_path={last}") as process:
        assert process.wait(LONG) == 0, (workdir / "output").read_text()
    with training(workdir, *TWO, *ENDLESS, epochs, "--trainer.logger.init_args.run_name=whole") as process:
        assert process.wait(LONG) == 0, (workdir / "output").read_text()
    assert differences(state_of(last), state_of(last_checkpoint(workdir, "whole"))) == []


def test_killed_process_ends_the_run_with_a_sentence(workdir):
    with training(workdir, *TWO, *ENDLESS) as process:
        wait_for_metrics(workdir, 3, process)
        os.kill(other_process(process), signal.SIGKILL)
        assert process.wait(LONG) != 0
    said = (workdir / "output").read_text()
    assert "Traceback" not in said
    assert "killed by signal 9" in said or "terminated with code -9" in said


def test_other_number_of_processes_is_refused_with_the_way_out(workdir):
    with training(workdir, "--trainer.max_epochs=1") as process:
        assert process.wait(LONG) == 0
    with training(workdir, *TWO, f"--ckpt_path={last_checkpoint(workdir)}") as process:
        assert process.wait(LONG) == 2
    assert (
        "was written by 1 processes, this run has 2; continue it with as many, such as `--trainer.devices 1`"
        in (workdir / "output").read_text()
    )
