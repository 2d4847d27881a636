"""Measure what the risk and its uses cost: RC-RARL with restarts, and with a gate, against RARL and TRPO.

With a gate that exploration keeps open, and with restarts of no episode, RC-RARL goes through the very states of RARL,
so that the difference is the cost of the risk and nothing else. Counted is the processor time of this process, which
depends little on what else the machine does. The algorithms take turns; the figures are medians over the repeats.

    taskset -c 0 python benchmarks/risk_cost.py --env rrl/InvertedDoublePendulumAdv-v1 --repeats 5
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
from rrl.algorithms.rarl import Game
from rrl.data import RolloutDataModule
from rrl.policies import Learner
from rrl.risk import Gate, Restarts

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
            self.start = time.process_time()
        self.seconds = time.process_time() - self.start


def seconds_per_update(env_id: str, algorithm: type[RARL], updates: int, **options: Any) -> float:
    """Train for some updates of either player and return the seconds of one, its rollout included."""
    total = updates + 2 * WARM_UP
    data = RolloutDataModule(env_id, num_envs=NUM_ENVS, num_steps=NUM_STEPS, iterations_per_epoch=total)
    lightning.seed_everything(0, verbose=False)
    module = algorithm(data.spaces, learner=Learner(gamma=0.995, gae_lambda=0.97), **options)
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
    candidates: dict[str, tuple[type[RARL], dict[str, Any]]] = {
        "TRPO": (RARL, {"game": Game(adversary_updates=0)}),
        "RARL": (RARL, {}),
        "restarts": (RCRARL, {"gate": None, "restarts": Restarts(share=0.0)}),
        "gate": (RCRARL, {"gate": Gate(exploration=1.0)}),
    }
    measured: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(args.repeats):
        for name, (algorithm, options) in candidates.items():
            measured[name].append(seconds_per_update(args.env, algorithm, args.updates, **options))
            print(f"{name:8s} {1e3 * measured[name][-1]:6.1f} ms an update", flush=True)
    medians = {name: statistics.median(values) for name, values in measured.items()}
    for name, value in medians.items():
        each = ", ".join(f"{1e3 * single:.0f}" for single in measured[name])
        print(
            f"{name:8s} {1e3 * value:6.1f} ms an update, {NUM_ENVS * NUM_STEPS / value:7,.0f} steps/s  (each: {each})"
        )
    for name in ("restarts", "gate"):
        cost = [100.0 * (risky / free - 1.0) for risky, free in zip(measured[name], measured["RARL"], strict=True)]
        each = ", ".join(f"{single:.1f}" for single in cost)
        print(f"{name}: {statistics.median(cost):.1f} % over RARL (each: {each})")


if __name__ == "__main__":
    main()
