"""Tune the baseline of AD-RRL in its worlds: one setting at a time, before anything is compared with it.

The score of a run is the mean of its evaluations in the last half of the training, ten nominal episodes each, which is
steadier than the last one alone. Runs that are complete are not repeated; the table is written after each.

    python benchmarks/baseline_sweep.py --seeds 100 101 --output results/adrrl/baseline_sweep.csv
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import pandas as pd
from training_queue import ROOT, Training, train_all

from rrl.tracking.outbox import read_lines

STEPS = {"invertedpendulum": 20_000, "hopper": 100_000, "walker": 100_000, "halfcheetah": 100_000, "reacher": 60_000}
UPDATE, LEARNER, DATA = "--model.init_args.policy_update.", "--model.init_args.learner.", "--data.init_args."
SETTINGS = {
    "default": {},
    "max_kl 0.005": {UPDATE + "max_kl": 0.005},
    "max_kl 0.02": {UPDATE + "max_kl": 0.02},
    "cg_damping 0.03": {UPDATE + "cg_damping": 0.03},
    "cg_damping 0.3": {UPDATE + "cg_damping": 0.3},
    "real batch 512": {DATA + "num_steps": 32},
    "real batch 2048": {DATA + "num_steps": 128},
    "value batch 128": {LEARNER + "value_batch_size": 128},
    "gae_lambda 0.9": {LEARNER + "gae_lambda": 0.9},
    "gae_lambda 0.98": {LEARNER + "gae_lambda": 0.98},
}
"""What each run changes; ``default`` is ``conf/trpo_<task>_uncertain.yaml``."""
EVALUATIONS = 6
METRIC = "eval/return_mean"


def training(task: str, setting: str, seed: int) -> Training:
    """Describe one run; its epochs are as long as the time between two evaluations."""
    changes = SETTINGS[setting]
    batch = 16 * int(changes.get(DATA + "num_steps", 64))
    name = f"{task}_{setting.replace(' ', '_')}_{seed}"
    arguments = ["--config", str(ROOT / "conf" / f"trpo_{task}_uncertain.yaml"), "--seed_everything", str(seed)]
    arguments += ["--trainer.max_epochs", str(EVALUATIONS), "--trainer.logger.init_args.run_name", name]
    arguments += [DATA + "iterations_per_epoch", str(round(STEPS[task] / batch / EVALUATIONS))]
    arguments += ["--evaluation.every_n_epochs", "1"]
    arguments += [part for key, value in changes.items() for part in (key, str(value))]
    return Training(name, Path.cwd(), arguments, Path(f"{name}.txt"), Path(f"{name}.complete"))


def scores(tasks: list[str], seeds: list[int]) -> pd.DataFrame:
    """Read the score of every complete run."""
    rows = []
    for task in tasks:
        for setting in SETTINGS:
            for seed in seeds:
                run = training(task, setting, seed)
                if run.marker.is_file():
                    records = read_lines(Path("runs") / run.name / "metrics.jsonl")
                    returns = [each["metrics"][METRIC] for each in records if METRIC in each["metrics"]]
                    score = pd.Series(returns[-EVALUATIONS // 2 :]).mean()
                    rows.append({"task": task, "setting": setting, "seed": seed, "score": score})
    return pd.DataFrame(rows, columns=["task", "setting", "seed", "score"])


def main() -> None:
    """Train task by task, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=tuple(STEPS), default=list(STEPS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    runs = [(task, setting, seed) for seed in args.seeds for task in args.tasks for setting in SETTINGS]
    train_all([partial(training, *run) for run in runs], args.jobs)
    table = scores(args.tasks, args.seeds)
    table.to_csv(args.output, index=False, float_format="%.6g")
    print(table.pivot_table(index="setting", columns="task", values="score", sort=False).round(0).to_string())


if __name__ == "__main__":
    main()
