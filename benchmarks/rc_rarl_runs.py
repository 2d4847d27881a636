"""The runs of the RC-RARL comparison: which methods and settings there are, and how to read what they logged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

SETTINGS = {
    "doublependulum_05": "double pendulum, reset noise 0.05",
    "doublependulum_10": "double pendulum, reset noise 0.10",
    "doublependulum_50": "double pendulum, reset noise 0.50",
    "hopper6_01": "Hopper with a 6 kg torso, reset noise 0.01",
    "hopper6_05": "Hopper with a 6 kg torso, reset noise 0.05",
}
"""The five settings of the paper's Figures 2 and 3."""
WALKER = {"walker": "Walker2d, pushed at the heels"}
"""A setting that is not the paper's."""
EPOCHS = {setting: 60 for setting in SETTINGS} | {"walker": 15}
ITERATIONS = EPOCHS | {"walker": 150}
"""Updates of each player."""
METHODS = {
    "rarl": ("conf/rarl_{setting}.yaml",),
    "restarts": ("conf/rcrarl_{setting}.yaml",),
    "rcrarl": ("conf/rcrarl_{setting}.yaml", "conf/controls/gate.yaml"),
    "rcrarl_paper": ("conf/rcrarl_{setting}_paper.yaml",),
    "rcrarl_adaptive": ("conf/rcrarl_{setting}.yaml", "conf/controls/adaptive_gate.yaml"),
    "trpo": ("conf/rarl_{setting}.yaml", "conf/controls/no_adversary.yaml"),
    "random_gate": ("conf/rcrarl_{setting}.yaml", "conf/controls/random_gate.yaml"),
    "rarl_force_matched": ("conf/rarl_{setting}.yaml", "conf/controls/force_matched.yaml"),
    "uncalibrated_gate": ("conf/rcrarl_{setting}.yaml", "conf/controls/uncalibrated_gate.yaml"),
    "gate_and_restarts": ("conf/rcrarl_{setting}.yaml", "conf/controls/gate_and_restarts.yaml"),
    "restarts_at_risk": ("conf/rcrarl_{setting}.yaml", "conf/controls/restarts_at_risk.yaml"),
    "restarts_riskiest": ("conf/rcrarl_{setting}.yaml", "conf/controls/restarts_riskiest.yaml"),
    "restarts_uniform": ("conf/rcrarl_{setting}.yaml", "conf/controls/restarts_uniform.yaml"),
    "restarts_raw": ("conf/rcrarl_{setting}.yaml", "conf/controls/restarts_raw.yaml"),
    "shaping": ("conf/rcrarl_{setting}.yaml", "conf/controls/shaping.yaml"),
    "force_control": ("conf/rcrarl_{setting}.yaml", "conf/controls/force_control.yaml"),
    "uncertain_gate": ("conf/rcrarl_{setting}.yaml", "conf/controls/uncertain_gate.yaml"),
    "random_adversary": ("conf/rarl_{setting}.yaml", "conf/controls/random_adversary.yaml"),
}
"""Configurations of each method, the later ones over the earlier."""


KEEP_EVERY = 20
"""Iterations between two checkpoints that are kept."""


@dataclass(frozen=True)
class Run:
    """One training run of the comparison."""

    root: Path
    setting: str
    method: str
    seed: int

    def __str__(self) -> str:
        """Name it as in a log."""
        return f"{self.setting} {self.method} seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / self.setting / self.method / str(self.seed)

    @property
    def marker(self) -> Path:
        """A file that says that it came to its end."""
        return self.folder / "complete"

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint; where training was interrupted and begun anew, that of the last attempt."""
        return max(self.folder.glob("runs/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)

    def checkpoint_after(self, iteration: int) -> Path:
        """The checkpoint after some iterations: a multiple of ``KEEP_EVERY``, or all of them."""
        kept = self.folder / "iterations" / f"epoch={iteration - 1}.ckpt"
        return self.checkpoint if iteration == ITERATIONS[self.setting] and not kept.is_file() else kept

    def sibling(self, method: str) -> Run:
        """Return the run of another method in the same setting and with the same seed."""
        return replace(self, method=method)


def complete_runs(folder: Path) -> Iterator[Run]:
    """List the runs that came to their end."""
    for setting in EPOCHS:
        for method in METHODS:
            for path in sorted((folder / setting / method).glob("*")):
                run = Run(folder, setting, method, int(path.name))
                if run.marker.is_file():
                    yield run


def metric_history(run: Run, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a metric's steps and values in the last attempt at a run, both empty where it was never logged."""
    last = "(select run_uuid from runs order by start_time desc limit 1)"
    query = (
        f"select step, value from metrics where run_uuid = {last} and key = ? and is_nan = 0 order by step, timestamp"
    )
    with sqlite3.connect(run.folder / "mlflow.db") as database:
        rows = database.execute(query, (key,)).fetchall()
    steps, values = zip(*rows, strict=True) if rows else ((), ())
    return np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)


def mean_metric(run: Run, key: str) -> float:
    """Average a metric over a run."""
    return float(metric_history(run, key)[1].mean())
