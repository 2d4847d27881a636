"""Train every method of the RC-RARL comparison in every setting, seed by seed.

Each run lies in ``FOLDER/<setting>/<method>/<seed>`` with its MLflow database and its checkpoints. The runs of one seed
are complete before those of the next one begin, so the comparison is balanced whenever it is stopped; started again, it
goes on with the runs that are not complete.

    python benchmarks/rc_rarl_train.py --folder rc_rarl_runs --seeds 0 1 2 3 4 --jobs 2
"""

from __future__ import annotations

import argparse
import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rc_rarl_runs import METHODS, SETTINGS, Run, mean_metric

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 60
"""Iterations; each has one rollout of 4000 steps for each player that learns."""
FORCE_LIMIT = 5.0
"""Newtons, in all five settings."""


def overrides(run: Run) -> list[str]:
    """Return the command line of a run after its configurations."""
    arguments = ["--trainer.max_epochs", str(EPOCHS), "--seed_everything", str(run.seed)]
    if run.method != "rcrarl_paper":  # Algorithm 1 needs a test in every iteration
        arguments += ["--attacks.every_n_epochs", "10"]
    if run.method == "rarl_force_matched":
        arguments += ["--data.init_args.force_limit", str(FORCE_LIMIT * force_share(run))]
    return arguments


def force_share(run: Run) -> float:
    """Return the force of gated RC-RARL as a share of plain RARL's, same setting and seed, over the whole training."""
    gated, free = run.sibling("rcrarl"), run.sibling("rarl")
    return mean_metric(gated, "gate/force_rms") / mean_metric(free, "adversary/force_rms")


def train(run: Run, core: int | None) -> float:
    """Train in the run's folder, on one core if asked, and return the seconds that it took."""
    run.folder.mkdir(parents=True, exist_ok=True)
    config, *controls = METHODS[run.method]
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(ROOT / config.format(setting=run.setting))]
    for control in controls:
        command += ["--config", str(ROOT / control)]
    start = time.perf_counter()
    with (run.folder / "train.txt").open("w") as log:
        subprocess.run(
            [*command, *overrides(run)],
            cwd=run.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
    run.mark_complete()
    return time.perf_counter() - start


def train_all(runs: Iterable[Run], jobs: int) -> None:
    """Train the runs that are not complete yet, several at a time."""
    cores: queue.Queue[int | None] = queue.Queue()
    # Two processes that share two cores lose time to each other's threads.
    available = sorted(os.sched_getaffinity(0))
    for job in range(jobs):
        cores.put(available[job % len(available)] if jobs > 1 else None)

    def one(run: Run) -> None:
        core = cores.get()
        try:
            print(f"{run}: {train(run, core):.0f} s", flush=True)
        except subprocess.CalledProcessError as error:
            print(f"{run}: failed with exit code {error.returncode}, see {run.folder / 'train.txt'}", flush=True)
        finally:
            cores.put(core)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, [run for run in runs if not run.is_complete]))


def main() -> None:
    """Train seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    folder = args.folder.resolve()
    for seed in args.seeds:
        runs = [Run(folder, setting, method, seed) for method in args.methods for setting in args.settings]
        # The force-matched control takes its limit from two other runs of its seed.
        train_all([run for run in runs if run.method != "rarl_force_matched"], args.jobs)
        train_all([run for run in runs if run.method == "rarl_force_matched"], args.jobs)


if __name__ == "__main__":
    main()
