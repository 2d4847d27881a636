"""A long run, watched: what it holds of memory, open files and threads must not grow."""

from __future__ import annotations

import gc
import json
import os
import resource
import threading
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from tests.reliability.runs import arguments, start
from tests.reliability.stops import Tally

LOOKS = 20
"""How often a run is looked at."""
SETTLED = 4
"""Looks after which everything has been loaded: evaluation, checkpoints, the connection to MLflow."""
MOST_GROWTH = 0.02
"""Share by which memory may grow after that."""
ITERATIONS = 100
"""Of an epoch."""


class Watch(Callback):
    """Notes now and then what the process holds, in ``watch.jsonl`` of the working folder."""

    def __init__(self, every_n_epochs: int = 1) -> None:
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the iterations so far, open files, threads, and resident memory in megabytes."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            look = {
                "iterations": trainer.global_step,
                "files": len(os.listdir("/proc/self/fd")),
                "threads": threading.active_count(),
                "memory": pages * resource.getpagesize() / 2**20,
            }
            with Path("watch.jsonl").open("a") as file:
                file.write(f"{json.dumps(look)}\n")


def watch(iterations: int, folder: Path) -> Tally:
    """Train TRPO for so many tiny iterations and compare what it holds early with what it holds late."""
    tally = Tally("long run")
    epochs = max(iterations // ITERATIONS, LOOKS)
    sizes = {"data__num_envs": 1, "data__num_steps": 16, "data__iterations_per_epoch": iterations // epochs}
    every = {"trainer__max_epochs": epochs, "evaluation__every_n_epochs": max(epochs // LOOKS // 2, 1)}
    watched = ["--trainer.callbacks+=tests.reliability.long_runs.Watch"]
    watched.append(f"--trainer.callbacks.every_n_epochs={epochs // LOOKS}")
    process = start([*arguments("TRPO", **sizes, **every), *watched], folder)
    process.join()
    if process.exitcode != 0:
        tally.lost.append(f"it ended with {process.exitcode}: {(folder / 'output').read_text()[-500:]}")
        return tally
    looks: list[dict[str, Any]] = [json.loads(line) for line in (folder / "watch.jsonl").read_text().splitlines()]
    tally.injected = looks[-1]["iterations"]
    early, late = looks[SETTLED], looks[-1]
    tally.seen.update(json.dumps(look) for look in (early, late))
    tally.lost += [
        f"{name}: {early[name]}, later {late[name]}" for name in ("files", "threads") if early[name] < late[name]
    ]
    if late["memory"] > (1 + MOST_GROWTH) * early["memory"]:
        tally.lost.append(f"memory: {early['memory']:.0f} MiB, later {late['memory']:.0f}")
    return tally
