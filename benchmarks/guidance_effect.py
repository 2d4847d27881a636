"""Measure what each rule of guidance does to the trajectories that a trained model imagines.

Takes the models and the policy of a checkpoint, fills a buffer with fresh experience in the worlds of its training, and
compares the rules by the shift of the predicted return (in its standard deviations within a start state), the realised
path-KL, and the quantile at which predicted returns lie in the true distribution over the uncertainty set: with the
same actions, and with the policy reacting. 0.5 is no effect; alpha / 2 to alpha is what the method promises.

    python benchmarks/guidance_effect.py --checkpoint runs/<run>/checkpoints/last.ckpt --output effect.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch

from rrl.algorithms import ADRRL
from rrl.checkpoints import load_algorithm, read_checkpoint
from rrl.data import TrajectoryDataModule
from rrl.diffusion import NoGuidance, NoiseConditional, PaperGuidance, ReleasedGuidance, WorstOfM
from rrl.envs import Pushes
from rrl.evaluation import ImaginationDiagnostics
from rrl.rollout import RolloutCollector

RULES = (NoGuidance, PaperGuidance, ReleasedGuidance, NoiseConditional, WorstOfM)
KEYS = ("return_shift", "path_kl", "quantile", "closed_loop_quantile")
FRESH_SEED = 3_000_000


def fresh_data(path: str, algorithm: ADRRL, num_steps: int) -> TrajectoryDataModule:
    """Fill a buffer with the checkpoint's policy in worlds like those of its training."""
    settings = dict(read_checkpoint(path)["datamodule_hyper_parameters"])
    if settings["pushes"] is not None:
        settings["pushes"] = Pushes(**settings["pushes"])
    settings["curriculum"] = None  # in all of the worlds, however far the training had come
    data = TrajectoryDataModule(**{**settings, "seed": settings["seed"] + FRESH_SEED})
    data.setup("fit")
    assert isinstance(data.collector, RolloutCollector)
    assert data.buffer is not None
    data.buffer.add(data.collector.collect(algorithm, num_steps))
    return data


def calibrate(algorithm: ADRRL, starts: torch.Tensor, rounds: int) -> float:
    """Adapt the strength of ``NoiseConditional`` to its budget; return the last mean path-KL of the rule in force."""
    model = algorithm.world_model
    for _ in range(rounds):
        guided = algorithm.imagine(starts, guided=True)
        model.strength.update_to_kl(guided.path_kl.mean(), model.guidance.alpha)
    return float(algorithm.imagine(starts, guided=True).path_kl.mean())


def main() -> None:
    """Print and write one row a rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--output", type=Path, default=Path("guidance_effect.csv"))
    parser.add_argument("--starts", type=int, default=64)
    parser.add_argument("--draws", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    algorithm = load_algorithm(args.checkpoint)
    if not isinstance(algorithm, ADRRL):
        raise SystemExit(f"{args.checkpoint} holds no AD-RRL run.")
    data = fresh_data(args.checkpoint, algorithm, num_steps=128)
    starts = data.buffer.sample_starts(512, recent=data.recent_starts).observations
    diagnostics = ImaginationDiagnostics(starts=args.starts, draws=args.draws)
    alpha = algorithm.world_model.guidance.alpha
    for kind in RULES:
        algorithm.world_model.guidance, rule = kind(alpha=alpha), kind.__name__
        path_kl = calibrate(algorithm, starts, rounds=15 if kind is NoiseConditional else 0)
        measured = [diagnostics.diagnose(data, algorithm) for _ in range(args.repeats)]
        row = {key: sum(one.get(f"guidance/{key}", path_kl) for one in measured) / args.repeats for key in KEYS}
        append(args.output, {"env": data.env_id, "rule": rule, "alpha": alpha, **row})
        print(data.env_id, f"{rule:16s}", *(f"{key} {row[key]:.3f}" for key in KEYS), flush=True)


def append(path: Path, row: dict[str, object]) -> None:
    """Write one row at once, so that a run that is stopped keeps what it has measured."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
