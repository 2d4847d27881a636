"""Measure how many transitions a second the diffusion model imagines, with each network, with and without guidance.

Rates depend on the machine and on what else it does, so compare the ratios, which are to the first network of the run.

python benchmarks/imagination_throughput.py --env Hopper-v5
"""

from __future__ import annotations

import argparse
import time

import torch

from rrl.algorithms import ADRRL
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.data import TrajectoryDataModule
from rrl.diffusion import CausalGRU, FewStep, ResidualMLP, RowwiseGRU, TemporalUNet


def transitions_per_second(module: ADRRL, starts: torch.Tensor, *, guided: bool, repeats: int) -> float:
    """Return the rate over several draws, after one to warm up."""
    module.imagine(starts, guided=guided)
    wait_for(starts.device)
    start = time.perf_counter()
    for _ in range(repeats):
        module.imagine(starts, guided=guided)
    wait_for(starts.device)
    horizon = module.world_model.models.normalizer.horizon
    return repeats * len(starts) * (horizon - 1) / (time.perf_counter() - start)


def wait_for(device: torch.device) -> None:
    """Return when everything that was asked of an accelerator is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def main() -> None:
    """Print one line a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Hopper-v5")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--row_steps", type=int, default=3, help="reverse steps of a row, where it goes row by row")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="where the networks are, as PyTorch names it")
    args = parser.parse_args()
    data = TrajectoryDataModule(args.env)
    starts = torch.randn(args.batch, data.spaces.obs_dim).to(args.device)
    first: list[float] = []
    for network in (TemporalUNet(), ResidualMLP(), CausalGRU(), RowwiseGRU(width=64, hidden_dim=128)):
        steps = args.row_steps if isinstance(network, RowwiseGRU) else args.steps
        settings = WorldModelSettings(denoiser=network, solver=FewStep(steps=steps))
        module = ADRRL(data.spaces, world_model=settings).to(args.device)
        rates = [
            transitions_per_second(module, starts, guided=guided, repeats=args.repeats) for guided in (False, True)
        ]
        first = first or rates
        unguided, guided = (
            f"{rate:10.0f} {kind}/s (x{rate / base:.2f})"
            for kind, rate, base in zip(("unguided", "guided"), rates, first, strict=True)
        )
        print(f"{type(network).__name__:14s} {unguided} {guided}")


if __name__ == "__main__":
    main()
