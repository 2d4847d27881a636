"""Compare denoisers at equal CPU time: how well each imagines, judged by replay in the simulator.

Takes the policy of a checkpoint, fills a buffer with its experience in the worlds of its training, trains every network
on it from scratch, and diagnoses after each slice of CPU time. Pin it to one core.

    python benchmarks/denoiser_study.py --checkpoint runs/<run>/checkpoints/last.ckpt --seconds 20 60 --output study.csv
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from guidance_effect import append, fresh_data

from rrl.algorithms import ADRRL
from rrl.algorithms.world_model import WorldModelSettings
from rrl.checkpoints import load_algorithm
from rrl.diffusion import CausalGRU, FewStep, NoGuidance, Reparameterized, ResidualMLP, RowwiseGRU, TemporalUNet
from rrl.evaluation import ImaginationDiagnostics

NETWORKS = {
    "unet 16 32": TemporalUNet(channels=(16, 32)),
    "unet 32 64": TemporalUNet(channels=(32, 64)),
    "unet 64 128": TemporalUNet(channels=(64, 128)),
    "gru 64": CausalGRU(width=64),
    "gru 128": CausalGRU(width=128),
    "gru 256": CausalGRU(width=256),
    "mlp 256": ResidualMLP(hidden_dim=256),
    "mlp 512": ResidualMLP(hidden_dim=512),
    "rowwise 64": RowwiseGRU(width=64, hidden_dim=128),
    "rowwise 128": RowwiseGRU(width=128, hidden_dim=256),
    "rowwise 256": RowwiseGRU(width=256, hidden_dim=256),
}
KEYS = ("replay_error", "persistence_error")


def main() -> None:
    """Print and write one row a network and time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seconds", type=float, nargs="+", default=[20.0, 60.0], help="CPU time after which to judge")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8, help="reverse steps")
    parser.add_argument("--experience", type=int, default=2048, help="steps of each of 16 worlds")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_algorithm(args.checkpoint)
    if not isinstance(trained, ADRRL):
        raise SystemExit(f"{args.checkpoint} holds no AD-RRL run.")
    data = fresh_data(args.checkpoint, trained, num_steps=args.experience)
    diagnostics = ImaginationDiagnostics(starts=128, draws=8)
    for name in args.networks:
        torch.manual_seed(0)
        settings = WorldModelSettings(
            denoiser=NETWORKS[name],
            guidance=NoGuidance(),
            solver=FewStep(steps=args.steps),
            policy_guidance=Reparameterized(damping=0.9),
        )
        module = ADRRL(trained.spaces, learner=trained.learner, world_model=settings)
        module.protagonist.load_state_dict(trained.protagonist.state_dict())
        models = module.world_model.models
        optimizer = torch.optim.Adam(models.trained_parameters(), lr=args.learning_rate, fused=True)
        used, updates = 0.0, 0
        for seconds in args.seconds:
            while used < seconds:
                windows = data.buffer.sample_windows(args.batch)
                start = time.process_time()
                loss = module.world_model.fit([windows], module.protagonist, optimizer)["diffusion/loss"]
                used, updates = used + time.process_time() - start, updates + 1
            measured = [diagnostics.diagnose(data, module) for _ in range(2)]
            errors = {key: sum(one[f"model/{key}"] for one in measured) / len(measured) for key in KEYS}
            row = {"env": data.env_id, "network": name, "cpu_seconds": seconds, "updates": updates, "loss": float(loss)}
            append(args.output, {**row, "batch": args.batch, "reverse_steps": args.steps, **errors})
            print(
                *(f"{value:.3f}" if isinstance(value, float) else value for value in {**row, **errors}.values()),
                flush=True,
            )


if __name__ == "__main__":
    main()
