"""Runs that start at one moment in a new folder, where the first of them makes the database."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from pathlib import Path
from typing import Any

from rrl.tracking import MLflowRunLogger
from rrl.tracking.addresses import database_uri
from rrl.tracking.remote_run import connect
from tests.reliability.runs import begin
from tests.reliability.stops import Tally


def start_at_once(count: int, folder: Path, number: int = 10) -> Tally:
    """Start so many times ten runs at one moment."""
    tally = Tally("concurrent starts")
    for start in range(count):
        root = folder / str(start)
        root.mkdir(parents=True)
        tally.lost += [f"start {start}: {what}" for what in lost_of_runs_started_at_once(root, number)]
        tally.injected += 1
        tally.tell()
        shutil.rmtree(root)
    return tally


def lost_of_runs_started_at_once(root: Path, number: int) -> list[str]:
    """Start runs at one moment; say what of them is not in MLflow in the end."""
    gate = multiprocessing.get_context("forkserver").Barrier(number)
    processes = [begin(_log, str(root), f"r{n}", gate) for n in range(number)]
    for process in processes:
        process.join(600)
    client = connect(database_uri(root / "mlflow.db"))
    (experiment,) = client.search_experiments(filter_string="name = 'rrl'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    lost = [f"r{n} is missing" for n in range(number) if f"r{n}" not in runs]
    for name, run in runs.items():
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "a")]
        lost += [f"{name} has the steps {steps}"] if steps != [0, 1, 2] else []
        lost += [f"{name} is {run.info.status}"] if run.info.status != "FINISHED" else []
    return lost


def _log(root: str, name: str, gate: Any) -> None:
    logger = MLflowRunLogger(root=root, run_name=name)
    gate.wait()
    for step in range(3):
        logger.log_metrics({"a": float(step)}, step=step)
    logger.finalize("success")
    # A machine with more processes than cores may need more than one deadline for a first opening.
    deadline = time.monotonic() + 300
    while logger._outbox.flush() and time.monotonic() < deadline:
        time.sleep(1)
