"""Measure the force profiles of the policies of the RC-RARL comparison, and append CSV rows.

Return, length and survival against the force, from 0 to 5 N, of random pushes, impulses, and pushes held in each
direction; see `rrl.evaluation.attacks.profile`. Rows that are there already are not measured again.

    python benchmarks/rc_rarl_profile.py --folder rc_rarl_runs --iterations 20 40 60 --jobs 2
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rc_rarl_runs import EPOCHS, ITERATIONS, METHODS, Run, complete_runs

from rrl.checkpoints import load_policy, read_checkpoint
from rrl.evaluation.attacks.profile import ProfilePoint, force_profile
from rrl.evaluation.episodes import Trial

EPISODES = 8
"""For each attack and force."""
IDENTITY = ("setting", "method", "seed", "iteration")


def measure(job: tuple[Run, int]) -> list[tuple[object, ...]]:
    """Return the rows of a run's policy after some iterations."""
    run, iteration = job
    path = run.checkpoint_after(iteration)
    worlds = read_checkpoint(path)["rrl"]["worlds"]
    trial = Trial(worlds["env_id"], EPISODES, run.seed, worlds["env_kwargs"])
    points = force_profile(load_policy(path).act, trial)
    return [(run.setting, run.method, run.seed, iteration, *point) for point in points]


def measured(path: Path) -> set[tuple[str, str, int, int]]:
    """List the policies whose rows are there."""
    if not path.is_file():
        return set()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["setting"], row["method"], int(row["seed"]), int(row["iteration"])) for row in rows}


def main() -> None:
    """Measure whatever is complete and not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--iterations", type=int, nargs="+", help="multiples of 20; all of them where left out")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--settings", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    path = args.folder.resolve() / "profile.csv"
    done = measured(path)
    jobs = [
        (run, iteration)
        for run in complete_runs(args.folder.resolve())
        for iteration in args.iterations or [ITERATIONS[run.setting]]
        if run.method in args.methods
        and run.setting in args.settings
        and (run.setting, run.method, run.seed, iteration) not in done
    ]
    with ProcessPoolExecutor(args.jobs) as pool, path.open("a", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow((*IDENTITY, *ProfilePoint._fields))
        for (run, iteration), rows in zip(jobs, pool.map(measure, jobs), strict=True):
            writer.writerows(rows)
            file.flush()
            print(f"{run}, iteration {iteration}: {len(rows)} rows", flush=True)


if __name__ == "__main__":
    main()
