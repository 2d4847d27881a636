"""Measure what the risk model, its calibration and the gate cost: RC-RARL against RARL and TRPO, in one process.

With a gate that exploration keeps open RC-RARL goes through the very states of RARL, so that the difference in time is
the cost of the risk and nothing else. The algorithms take turns; the figures are medians over the repeats.

    python benchmarks/risk_cost.py --env rrl/Hopper6Adv-v1 --repeats 5
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from typing import Any

import lightning

from rrl.algorithms import RARL, RCRARL
from rrl.data import RolloutDataModule
from rrl.risk import Gate

NUM_ENVS, NUM_STEPS = 16, 250
WARM_UP = 2
"""Iterations before the clock starts: the risk model needs a first rollout to be fitted."""


class Stopwatch(lightning.Callback):
    """Times the iterations after the warm-up."""

    def __init__(self) -> None:
        self.start = self.seconds = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Start after the warm-up; the last iteration stops it."""
        if index + 1 == 2 * WARM_UP:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start


def seconds_per_update(env_id: str, algorithm: type[RARL], updates: int, **options: Any) -> float:
    """Train for some updates of either player and return the seconds of one, its rollout included."""
    total = updates + 2 * WARM_UP
    data = RolloutDataModule(env_id, num_envs=NUM_ENVS, num_steps=NUM_STEPS, iterations_per_epoch=total)
    lightning.seed_everything(0, verbose=False)
    sizes = {name: getattr(data, name) for name in ("obs_dim", "action_dim", "action_low", "action_high")}
    module = algorithm(**sizes, adversary_dim=data.adversary_dim, gamma=0.995, gae_lambda=0.97, **options)
    watch = Stopwatch()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
    )
    trainer.fit(module, datamodule=data)
    return watch.seconds / updates


def main() -> None:
    """Measure in turn and print the cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="rrl/Hopper6Adv-v1")
    parser.add_argument("--updates", type=int, default=20, help="of both players together")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    data = RolloutDataModule(args.env, num_envs=1)
    game = {"step_seconds": data.step_seconds, "can_fail": data.can_fail}
    candidates: dict[str, tuple[type[RARL], dict[str, Any]]] = {
        "TRPO": (RARL, {"adversary_updates": 0}),
        "RARL": (RARL, {}),
        "RC-RARL": (RCRARL, {**game, "gate": Gate(exploration=1.0)}),
    }
    measured: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(args.repeats):
        for name, (algorithm, options) in candidates.items():
            measured[name].append(seconds_per_update(args.env, algorithm, args.updates, **options))
    medians = {name: statistics.median(values) for name, values in measured.items()}
    for name, value in medians.items():
        each = ", ".join(f"{1e3 * single:.0f}" for single in measured[name])
        print(
            f"{name:8s} {1e3 * value:6.1f} ms an update, {NUM_ENVS * NUM_STEPS / value:7,.0f} steps/s  (each: {each})"
        )
    cost = [gated / free - 1.0 for gated, free in zip(measured["RC-RARL"], measured["RARL"], strict=True)]
    each = ", ".join(f"{100 * single:.1f}" for single in cost)
    print(f"risk, calibration and gate add {100 * statistics.median(cost):.1f} % to an iteration (each: {each})")


if __name__ == "__main__":
    main()
