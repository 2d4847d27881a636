"""Runs of two processes: stopped, bereft of one, and continued."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
def training(folder: Path, *args: str, launcher: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Train in processes of their own, whose output is kept."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, *launcher, str(PROJECT / "train.py"), *TOY, *args]
    with (folder / "output").open("a" if launcher else "w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=output, stdout=output, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_metrics(folder: Path, lines: int, process: subprocess.Popen[str], name: str = "run") -> None:
    metrics, deadline = folder / "runs" / name / "metrics.jsonl", time.monotonic() + LONG
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


@contextmanager
def two_agents(folder: Path, *args: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Train under two agents of ``torchrun``, which meet at the loopback address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    place = ["--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}"]
    nodes = ["--trainer.devices=1", "--trainer.num_nodes=2"]
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                training(folder, *nodes, *args, launcher=["-m", "torch.distributed.run", *place, f"--node_rank={rank}"])
            )
            for rank in (0, 1)
        ]


def test_two_agents_of_torchrun_do_what_two_processes_do_and_stop_together(workdir):
    named = "--trainer.logger.init_args.run_name"
    with two_agents(workdir) as agents:
        assert [agent.wait(LONG) for agent in agents] == [0, 0], (workdir / "output").read_text()
    with training(workdir, *TWO, f"{named}=whole") as process:
        assert process.wait(LONG) == 0, (workdir / "output").read_text()
    assert differences(state_of(last_checkpoint(workdir)), state_of(last_checkpoint(workdir, "whole"))) == []
    with two_agents(workdir, *ENDLESS, f"{named}=stopped") as agents:
        wait_for_metrics(workdir, 3, agents[0], "stopped")
        agents[1].send_signal(signal.SIGTERM)
        for agent in agents:
            assert agent.wait(LONG) != 0
    steps = int(state_of(last_checkpoint(workdir, "stopped"))["state_dict"]["env_steps"])
    epochs = f"--trainer.max_epochs={steps // 32 + 1}"
    last = f"--ckpt_path={last_checkpoint(workdir, 'stopped')}"
    with two_agents(workdir, *ENDLESS, epochs, f"{named}=stopped", last) as agents:
        assert [agent.wait(LONG) for agent in agents] == [0, 0], (workdir / "output").read_text()
    with training(workdir, *TWO, *ENDLESS, epochs, f"{named}=straight") as process:
        assert process.wait(LONG) == 0, (workdir / "output").read_text()
    ends = [state_of(last_checkpoint(workdir, name)) for name in ("stopped", "straight")]
    assert differences(*ends) == []


def test_killed_process_of_another_agent_ends_the_run_with_a_sentence(workdir):
    with two_agents(workdir, *ENDLESS) as agents:
        wait_for_metrics(workdir, 3, agents[0])
        os.kill(other_process(agents[1]), signal.SIGKILL)
        for agent in agents:
            assert agent.wait(LONG) != 0
    said = (workdir / "output").read_text()
    assert "train.py: error: the connection to another process of the run is lost; continue from the last" in said
    assert "[rank0]: Traceback" not in said
