"""Measure how many transitions a second the diffusion model imagines, with both networks, with and without guidance.

python benchmarks/imagination_throughput.py --env Hopper-v5
"""

from __future__ import annotations

import argparse
import time

import torch

from rrl.algorithms import ADRRL
from rrl.data import TrajectoryDataModule


def transitions_per_second(module: ADRRL, starts: torch.Tensor, *, guided: bool, repeats: int) -> float:
    """Return the rate over several draws, after one to warm up."""
    module.imagine(starts, guided=guided)
    start = time.perf_counter()
    for _ in range(repeats):
        module.imagine(starts, guided=guided)
    horizon = module.world_model.normalizer.horizon
    return repeats * len(starts) * (horizon - 1) / (time.perf_counter() - start)


def main() -> None:
    """Print one line a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Hopper-v5")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    data = TrajectoryDataModule(args.env)
    sizes = (data.obs_dim, data.action_dim, data.action_low, data.action_high, data.healthy_low, data.healthy_high)
    for network in ("residual_mlp", "unet"):
        module = ADRRL(*sizes, data.horizon, denoiser=network, diffusion_steps=args.steps)
        starts = torch.randn(args.batch, data.obs_dim)
        rates = [
            transitions_per_second(module, starts, guided=guided, repeats=args.repeats) for guided in (False, True)
        ]
        print(f"{network:14s} {rates[0]:10.0f} unguided/s {rates[1]:10.0f} guided/s")


if __name__ == "__main__":
    main()
