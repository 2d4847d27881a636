"""Small runs of every algorithm in processes that can be killed, and what two runs have in common."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

from rrl.checkpoints.digest import DIGEST
from rrl.checkpoints.io import BUFFER_FILE
from tests.conftest import PROJECT

SMALL = {
    "data.num_envs": 2,
    "data.iterations_per_epoch": 3,
    "trainer.max_epochs": 4,
    "evaluation.every_n_epochs": 2,
    "evaluation.num_episodes": 1,
    "trainer.enable_progress_bar": "false",
    "trainer.logger.run_name": "run",
    "trainer.logger.log_model": "false",
    "model.learner.hidden_sizes": "[8]",
    "model.learner.value_epochs": 2,
}
GAME = {"data.env_id": "rrl/Hopper6Adv-v1", "data.num_steps": 48, "attacks.num_episodes": 1}
DYNA = {
    "data.num_steps": 24,
    "data.horizon": 8,
    "data.model_updates": 2,
    "data.model_batch_size": 8,
    "data.imagined_trajectories": 16,
    "data.recent_starts": 64,
    "data.buffer_size": 200,
    "model.world_model.denoiser.hidden_dim": 16,
    "model.imagination.warmup": 96,
    "model.imagination.guidance_warmup": 192,
    "diagnostics.every_n_epochs": 2,
    "diagnostics.starts": 4,
    "diagnostics.draws": 4,
}
ALGORITHMS: dict[str, tuple[str, dict[str, Any]]] = {
    "TRPO": ("trpo_invertedpendulum", {"data.num_steps": 48}),
    "RARL": ("rarl_hopper", GAME | {"model.game.protagonist_updates": 2}),
    "RCRARL": ("rcrarl_hopper", GAME | {"model.labels.horizon_steps": 8}),
    "ADRRL": ("adrrl_hopper", DYNA),
    "RCADRRL": ("rcadrrl_hopper", DYNA | {"data.start_candidates": 2, "model.labels.horizon_steps": 5}),
}
"""Configuration and sizes by algorithm: 12 iterations in two seconds. A model for MLflow would take as long again."""
SECTIONS = ("data.", "model.", "trainer.logger.")
OWN = {"rrl", BUFFER_FILE, DIGEST, "pytorch-lightning_version"}
"""Entries of a checkpoint that name a run instead of its state."""


def arguments(algorithm: str, **changes: Any) -> list[str]:
    """Return the command line of a small run, with settings changed by dotted name, ``__`` for each dot."""
    config, sizes = ALGORITHMS[algorithm]
    settings = SMALL | sizes | {name.replace("__", "."): value for name, value in changes.items()}
    return ["--config", str(PROJECT / "conf" / f"{config}.yaml"), *(_option(*item) for item in settings.items())]


def _option(name: str, value: Any) -> str:
    section = next((section for section in SECTIONS if name.startswith(section)), "")
    inner = name.removeprefix(section)
    if inner.startswith(("world_model.denoiser.", "labels.")):
        inner = inner[::-1].replace(".", ".sgra_tini.", 1)[::-1]
    return f"--{section}{'init_args.' if section else ''}{inner}={value}"


def start(args: list[str], folder: Path) -> ForkServerProcess:
    """Start a training in a folder."""
    return begin(_train, args, str(folder))


def begin(function: Callable[..., None], *args: Any) -> ForkServerProcess:
    """Call a function in a process that has loaded everything already, so that it takes no seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.preloaded"])
    process = context.Process(target=function, args=args)
    before = os.environ.get("PYTHONPATH")
    # The server that loads everything is started with the first process, and looks nowhere else.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT), before]))
    try:
        process.start()
    finally:
        os.environ.pop("PYTHONPATH")
        os.environ |= {} if before is None else {"PYTHONPATH": before}
    return process


def _train(args: list[str], folder: str) -> None:
    import train

    os.chdir(folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    sys.argv = ["train.py"]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            os.dup2(os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(train.main(args))


def last_checkpoint(folder: Path, name: str = "run") -> Path:
    """Return where a run keeps its last checkpoint."""
    return folder / "runs" / name / "checkpoints" / "last.ckpt"


def continued(args: list[str], folder: Path) -> list[str]:
    """Return the command line that goes on after a kill: from the checkpoint, if there is one."""
    last = last_checkpoint(folder)
    return [*args, f"--ckpt_path={last}"] if last.exists() else args


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """Name the entries in which two contents of checkpoints differ, in the last bit or in type."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and torch.equal(
            first.nan_to_num(1.25e9) if first.is_floating_point() else first,
            second.nan_to_num(1.25e9) if second.is_floating_point() else second,
        )
        return [] if same else [place]
    if isinstance(first, dict) and isinstance(second, dict):
        names = sorted({*first, *second} - OWN, key=str)
        return [
            found
            for name in names
            for found in (
                differences(first[name], second[name], f"{place}.{name}")
                if name in first and name in second
                else [f"{place}.{name}"]
            )
        ]
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [found for index, pair in pairs for found in differences(*pair, f"{place}.{index}")]
    return [] if first == second or (first != first and second != second) else [place]


def state_of(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint with its replay buffer."""
    content = torch.load(checkpoint, weights_only=True)
    if BUFFER_FILE in content:
        content["buffer"] = torch.load(checkpoint.with_name(content[BUFFER_FILE]), weights_only=True)
    return content


def in_mlflow(folder: Path) -> dict[str, tuple[str, dict[tuple[str, int], list[float]]]]:
    """Read all runs of a folder from its database: status, and the values of each metric at each step, by run id."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        runs = dict(database.execute("SELECT run_uuid, status FROM runs ORDER BY start_time").fetchall())
        rows = database.execute("SELECT run_uuid, key, step, value FROM metrics").fetchall()
    found: dict[str, tuple[str, dict[tuple[str, int], list[float]]]] = {run: (state, {}) for run, state in runs.items()}
    for run, key, step, value in rows:
        found[run][1].setdefault((key, step), []).append(value)
    return found


def what_was_lost(folder: Path, reference: Path) -> list[str]:
    """Say in what a run differs from one that nothing has stopped: states, metrics, evaluations, statuses, files.

    A run that was killed before its first checkpoint and started again has left another one in MLflow, as killed.
    """
    lost = [*_lost_states(folder, reference), *_lost_metrics(folder, reference), *_lost_files(folder, reference)]
    return lost + list(_litter(folder))


def _lost_states(folder: Path, reference: Path) -> Iterator[str]:
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (last_checkpoint(where).with_name(name) for where in (folder, reference))
        if ours.exists() and theirs.exists():
            yield from (f"{name}{place} differs" for place in differences(state_of(ours), state_of(theirs)))
        elif theirs.exists():
            yield f"{name} is missing"


def _lost_metrics(folder: Path, reference: Path) -> Iterator[str]:
    *earlier, (status, ours) = in_mlflow(folder).values()
    (_, theirs), *_ = in_mlflow(reference).values()
    states = [state for state, _ in earlier] + [status]
    if states != ["KILLED"] * len(earlier) + ["FINISHED"]:
        yield f"the runs in MLflow are {states}"
    for key, step in sorted(theirs.keys() ^ ours.keys()):
        yield f"the metric {key} at {step} is {'missing' if (key, step) in theirs else 'new'}"
    for (key, step), values in ours.items():
        if len(values) != 1:
            yield f"the metric {key} at {step} stands {len(values)} times"
        elif not key.startswith("time/") and values != theirs.get((key, step), values):
            yield f"the metric {key} at {step} differs"


def _lost_files(folder: Path, reference: Path) -> Iterator[str]:
    """Compare the files in the folders of the runs, and those of the last run in MLflow."""
    for place in ("runs/run", "mlruns"):
        ours, theirs = (
            {file.relative_to(base).as_posix() for file in base.rglob("*") if file.suffix not in {"", ".buffer"}}
            for base in (_newest(where / place) for where in (folder, reference))
        )
        yield from (f"the file {place}/{name} is missing" for name in sorted(theirs - ours))


def _newest(folder: Path) -> Path:
    """Return the artifacts of the last run of an MLflow folder, or the folder itself where it is another one."""
    runs = sorted(folder.glob("*/artifacts"), key=lambda path: path.stat().st_mtime)
    return runs[-1] if runs else folder


def _litter(folder: Path) -> Iterator[str]:
    checkpoints = last_checkpoint(folder).parent
    known = {"last.ckpt", "best.ckpt", *(path.name for path in checkpoints.glob("*.buffer"))}
    yield from (f"the file {path.name} is left" for path in checkpoints.iterdir() if path.name not in known)
    if len(list(checkpoints.glob("*.buffer"))) > len(list(checkpoints.glob("*.ckpt"))):
        yield "a replay buffer is left"
