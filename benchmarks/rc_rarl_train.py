"""Train every method of the RC-RARL comparison in every setting, seed by seed.

Each run lies in ``FOLDER/<setting>/<method>/<seed>`` with its MLflow database and its checkpoints. The runs of one seed
are complete before those of the next one begin, so the comparison is balanced whenever it is stopped; started again, it
goes on with the runs that are not complete.

    python benchmarks/rc_rarl_train.py --folder rc_rarl_runs --seeds 0 1 2 3 4 --jobs 2
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from rc_rarl_runs import EPOCHS, KEEP_EVERY, METHODS, SETTINGS, Run, mean_metric
from training_queue import ROOT, Training, train_all

FORCE_LIMIT = 5.0
"""Newtons, in all five settings."""


def overrides(run: Run, epochs: int | None) -> list[str]:
    """Return the command line of a run after its configurations."""
    arguments = ["--trainer.max_epochs", str(epochs or EPOCHS[run.setting]), "--seed_everything", str(run.seed)]
    keep = {"every_n_epochs": KEEP_EVERY, "save_top_k": -1, "dirpath": run.folder / "iterations", "filename": "{epoch}"}
    arguments += ["--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint"]
    arguments += [f"--trainer.callbacks.{name}={value}" for name, value in keep.items()]
    if run.method != "rcrarl_paper":  # Algorithm 1 needs a test in every iteration
        arguments += ["--attacks.every_n_epochs", "10"]
    if run.method == "rarl_force_matched":
        arguments += ["--data.init_args.force_limit", str(FORCE_LIMIT * force_share(run))]
    return arguments


def force_share(run: Run) -> float:
    """Return the force of gated RC-RARL as a share of plain RARL's, same setting and seed, over the whole training."""
    gated, free = run.sibling("rcrarl"), run.sibling("rarl")
    return mean_metric(gated, "gate/force_rms") / mean_metric(free, "adversary/force_rms")


def training(run: Run, epochs: int | None) -> Training:
    """Describe one run."""
    configs = [argument for path in METHODS[run.method] for argument in ("--config", str(ROOT / path))]
    arguments = [argument.format(setting=run.setting) for argument in configs] + overrides(run, epochs)
    return Training(str(run), run.folder, arguments, run.folder / "train.txt", run.marker)


def main() -> None:
    """Train seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--settings", nargs="+", choices=EPOCHS, default=list(SETTINGS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--epochs", type=int, help="of each run, in place of what the comparison has")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    folder = args.folder.resolve()
    for seed in args.seeds:
        runs = [Run(folder, setting, method, seed) for method in args.methods for setting in args.settings]
        # The force-matched control takes its limit from two other runs of its seed.
        for is_last in (False, True):
            turn = [run for run in runs if (run.method == "rarl_force_matched") == is_last]
            train_all([partial(training, run, args.epochs) for run in turn], args.jobs)


if __name__ == "__main__":
    main()
