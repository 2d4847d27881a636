"""Compare denoisers at equal CPU time: how well each imagines, judged by replay in the simulator.

Takes the policy of a checkpoint, fills a buffer with its experience in the worlds of its training, trains every network
on it from scratch, and diagnoses after each slice of CPU time. Pin it to one core.

    python benchmarks/denoiser_study.py --checkpoint runs/<run>/checkpoints/last.ckpt --seconds 20 60 --output study.csv
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import torch
from guidance_effect import append, fresh_data, train_models, twin

from rrl.algorithms import ADRRL
from rrl.algorithms.world_model_settings import WorldModelSettings
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
    "rowwise 64 256": RowwiseGRU(width=64, hidden_dim=256),
    "rowwise 32 512": RowwiseGRU(width=32, hidden_dim=512),
    "rowwise 128": RowwiseGRU(width=128, hidden_dim=256),
    "rowwise 256": RowwiseGRU(width=256, hidden_dim=256),
}
KEYS = ("replay_error", "persistence_error", "advantage_agreement", "gradient_agreement")


def main() -> None:
    """Print and write one row a network and time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seconds", type=float, nargs="+", default=[20.0, 60.0], help="CPU time after which to judge")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--learning_rate", type=float, default=5e-3)
    parser.add_argument("--steps", type=int, default=16, help="reverse steps of whole windows")
    parser.add_argument("--row_steps", type=int, default=3, help="reverse steps of a row")
    parser.add_argument("--horizon", type=int, help="rows of a window; as in the training where left out")
    parser.add_argument("--experience", type=int, default=2048, help="steps of each of 16 worlds")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_algorithm(args.checkpoint)
    if not isinstance(trained, ADRRL):
        raise SystemExit(f"{args.checkpoint} holds no AD-RRL run.")
    data = fresh_data(args.checkpoint, trained, num_steps=args.experience, horizon=args.horizon)
    diagnostics = ImaginationDiagnostics(starts=128, draws=16)
    for name in args.networks:
        settings = WorldModelSettings(
            denoiser=NETWORKS[name],
            guidance=NoGuidance(),
            solver=FewStep(steps=args.row_steps if name.startswith("rowwise") else args.steps),
            policy_guidance=Reparameterized(damping=0.9),
            learning_rate=args.learning_rate,
        )
        module, updates = twin(trained, data, settings), 0
        for before, seconds in itertools.pairwise([0.0, *args.seconds]):
            updates += train_models(module, data, seconds=seconds - before, batch=args.batch)
            measured = [diagnostics.diagnose(data, module) for _ in range(2)]
            errors = {key: sum(one[f"model/{key}"] for one in measured) / len(measured) for key in KEYS}
            row = {"env": data.env_id, "network": name, "horizon": data.horizon}
            row |= {"cpu_seconds": seconds, "updates": updates}
            append(args.output, {**row, "batch": args.batch, "reverse_steps": settings.solver.steps, **errors})
            print(
                *(f"{value:.3f}" if isinstance(value, float) else value for value in {**row, **errors}.values()),
                flush=True,
            )


if __name__ == "__main__":
    main()
