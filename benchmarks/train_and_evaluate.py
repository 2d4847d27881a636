"""Train one configuration over several seeds, evaluate each final policy, and append one CSV row a seed.

The policy judged is the last one, not the best; its episodes are nominal and shared with no training.

    python benchmarks/train_and_evaluate.py --config conf/trpo_hopper.yaml --seeds 0 1 2 --output results/trpo.csv

What follows ``--`` goes to ``train.py``, for instance ``-- --model.init_args.policy_update.cg_damping 0.05``.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rrl.evaluation.training.checkpoint import evaluate_checkpoint

ROOT = Path(__file__).resolve().parent.parent


def train(config: Path, seed: int, overrides: Sequence[str], folder: str) -> tuple[Path, float]:
    """Train in a folder; return the last checkpoint and the wall-clock seconds of the whole process."""
    start = time.perf_counter()
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "--config",
        str(config.resolve()),
        "--seed_everything",
        str(seed),
        *overrides,
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (checkpoint,) = Path(folder).glob("runs/*/checkpoints/last.ckpt")
    return checkpoint, time.perf_counter() - start


def main() -> None:
    """Train and evaluate each seed in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", help="after --: further arguments of train.py")
    args = parser.parse_args()
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint, seconds = train(args.config, seed, args.overrides, folder)
            result = evaluate_checkpoint(checkpoint, args.episodes)
        summary = result.summary
        row = {
            "config": args.config.stem,
            "env": result.env_id,
            "seed": seed,
            "env_steps": result.env_steps,
            "wall_seconds": round(seconds, 1),
            "return_mean": round(summary.return_mean.value, 1),
            "return_cvar10": round(summary.return_cvar.value, 1),
            "episode_length": round(summary.episode_length.value, 1),
            "forward_distance": "" if summary.forward_distance is None else round(summary.forward_distance.value, 2),
        }
        args.output.parent.mkdir(parents=True, exist_ok=True)
        with args.output.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
