"""Train the methods of a robustness report, several seeds each, for the same number of real environment steps.

The runs are named as ``conf/evaluation/<task>.yaml`` expects. Started again, it goes on with those not complete.

    python benchmarks/train_methods.py --task hopper --steps 200000 --seeds 0 1 2 --jobs 2
    python evaluate.py --config conf/evaluation/hopper.yaml --workers 2
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import yaml
from training_queue import ROOT, Training, train_all

METHODS = (
    "trpo",
    "drtrpo",
    "rarl",
    "rcrarl",
    "adrrl",
    "trpo_{task}_uncertain",
    "trpo_{task}_random_adversary",
    "trpo_{task}_random_actions",
)


def config_of(method: str, task: str) -> str:
    """Name the configuration of a method."""
    return method.format(task=task) if "{" in method else f"{method}_{task}"


def epochs_of(config: str, steps: int) -> int:
    """Return how many epochs have about as many environment steps, those of both players counted."""
    data = yaml.safe_load((ROOT / "conf" / f"{config}.yaml").read_text())["data"]["init_args"]
    return max(round(steps / (data["num_envs"] * data["num_steps"] * data["iterations_per_epoch"])), 1)


def training(config: str, seed: int, steps: int) -> Training:
    """Describe one run."""
    name, folder = f"{config}_{seed}", Path.cwd()
    arguments = ["--config", str(ROOT / "conf" / f"{config}.yaml"), "--seed_everything", str(seed)]
    arguments += ["--trainer.max_epochs", str(epochs_of(config, steps)), "--trainer.logger.init_args.run_name", name]
    return Training(name, folder, arguments, folder / f"{name}.txt", folder / f"{name}.complete")


def main() -> None:
    """Train seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("hopper", "walker"), required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS[:6])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    configs = [config_of(method, args.task) for method in args.methods]
    train_all([partial(training, config, seed, args.steps) for seed in args.seeds for config in configs], args.jobs)


if __name__ == "__main__":
    main()
