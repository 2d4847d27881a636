"""Put the final policies of the RC-RARL comparison under the same external attacks, and append a CSV row for each.

The attackers are nobody's own: no force, pushes that last (step, random step), the strongest of the pushes that never
end, at half of the force, and the strongest of a search against the finished policy: such pushes, and an adversary
trained from nothing. Rows that are there already are not measured again.

    python benchmarks/rc_rarl_attack.py --folder rc_rarl_runs --jobs 2
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rc_rarl_runs import METHODS, SETTINGS, Run, complete_runs

from rrl.checkpoints import load_policy, read_checkpoint
from rrl.evaluation.attacks.evaluate import AttackCell, AttackOptions, evaluate_attack
from rrl.evaluation.episodes import Trial

FORCE_LIMIT = 5.0
"""Newtons along an axis; that of the training."""
SEARCH = AttackOptions(restarts=1, steps=50_000)
"""One adversary beside the held pushes, and its environment steps."""
PUSHES = AttackOptions(restarts=0)
"""Held pushes alone."""
ATTACKS = {
    "zero": (AttackCell("zero", 0.0), PUSHES),
    "step": (AttackCell("step", FORCE_LIMIT), PUSHES),
    "random_step": (AttackCell("random_step", FORCE_LIMIT), PUSHES),
    "held_half": (AttackCell("strongest", FORCE_LIMIT / 2.0), PUSHES),
    "strongest": (AttackCell("strongest", FORCE_LIMIT), SEARCH),
}
"""By name: the attack, and what its search may use."""
EPISODES = 20
COLUMNS = (
    "setting",
    "method",
    "seed",
    "attack",
    "force_limit",
    "return_mean",
    "return_worst",
    "length_mean",
    "force_rms",
)


def attack(run: Run) -> list[dict[str, object]]:
    """Return a row for each attack on a run's final policy."""
    worlds = read_checkpoint(run.checkpoint)["rrl"]["worlds"]
    policy = load_policy(run.checkpoint)
    trial = Trial(worlds["env_id"], EPISODES, run.seed, worlds["env_kwargs"])
    rows = []
    for name, (cell, options) in ATTACKS.items():
        found = evaluate_attack(policy.act, trial, cell, options)
        values = (found.row.return_mean, found.row.return_worst, found.row.length_mean, found.force_rms)
        identity = (run.setting, run.method, run.seed, name, cell.force_limit)
        rows.append(dict(zip(COLUMNS, (*identity, *values), strict=True)))
    return rows


def measured(path: Path) -> set[tuple[str, str, int]]:
    """List the runs whose rows are there."""
    if not path.is_file():
        return set()
    with path.open(newline="") as file:
        return {(row["setting"], row["method"], int(row["seed"])) for row in csv.DictReader(file)}


def main() -> None:
    """Attack whatever is complete and not attacked yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    path = args.folder.resolve() / "attacks.csv"
    done = measured(path)
    runs = [
        run
        for run in complete_runs(args.folder.resolve())
        if (run.setting, run.method, run.seed) not in done
        and run.method in args.methods
        and run.setting in args.settings
    ]
    with ProcessPoolExecutor(args.jobs) as pool, path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            writer.writeheader()
        for run, rows in zip(runs, pool.map(attack, runs), strict=True):
            writer.writerows(rows)
            file.flush()
            print(run, {row["attack"]: round(float(str(row["return_mean"]))) for row in rows}, flush=True)


if __name__ == "__main__":
    main()
