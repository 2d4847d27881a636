"""What it costs a healthy run that nothing is lost: shares of one training from start to end, imports included.

Each part is timed from the outside, where it is called, by the wall clock and by the processor time of the process,
which other work on the machine does not change. What MLflow and PyTorch themselves take is said beside it and taken off
at the end, since no run that is tracked and saved is without them.

    python benchmarks/reliability_cost.py --config conf/trpo_hopper.yaml
"""

from __future__ import annotations

import argparse
import functools
import importlib
import time
from collections import Counter
from typing import Any

BEGIN = time.perf_counter()
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
SECONDS: dict[str, Counter[str]] = {name: Counter() for name in CLOCKS}
RUNNING: set[str] = set()


def timed(owner: Any, name: str, part: str) -> None:
    """Add the time of each call of a function to a part, unless the part is running already."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if part in RUNNING:
            return function(*args, **kwargs)
        RUNNING.add(part)
        begin = {name: clock() for name, clock in CLOCKS.items()}
        try:
            return function(*args, **kwargs)
        finally:
            for name, clock in CLOCKS.items():
                SECONDS[name][part] += clock() - begin[name]
            RUNNING.discard(part)

    setattr(owner, name, call)


def main() -> None:
    """Train with every part timed and print their shares."""
    import torch

    import rrl.checkpoints.io as files
    import rrl.cli as cli
    import train
    from rrl.interrupts import GracefulInterrupt
    from rrl.tracking import MLflowRunLogger
    from rrl.tracking.remote_run import RemoteRun

    checks = ("check_files", "refuse_linked", "refuse_hidden_classes", "refuse_nulls", "refuse_automatic")
    for name in (*checks, "check_monitor", "check_writable", "check_address", "read_identity"):
        timed(cli, name, "input checks")
    for name in ("log_metrics", "log_params", "log_tags", "log_artifact", "claim_folder", "finalize"):
        timed(MLflowRunLogger, name, "tracking")
    timed(RemoteRun, "_deliver", "tracking, MLflow itself")
    timed(files.AtomicCheckpointIO, "save_checkpoint", "checkpoints")
    timed(files, "digest", "checkpoints, fingerprint")
    timed(torch, "save", "checkpoints, PyTorch itself")
    for name in ("on_train_batch_end", "on_train_epoch_start", "on_train_start"):
        timed(GracefulInterrupt, name, "signals")
    importlib.import_module("mlflow.exceptions")  # which takes seconds, and would be a part of the tracking
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="conf/trpo_hopper.yaml")
    options, rest = parser.parse_known_args()
    train.main(["--config", options.config, "--trainer.enable_progress_bar=false", *rest])
    totals = {"wall": time.perf_counter() - BEGIN, "processor": time.process_time()}
    for name, seconds in SECONDS.items():
        print(f"{options.config}, {name}: {totals[name]:.1f} s from start to end")
        added = seconds["input checks"] + seconds["signals"]
        added += seconds["tracking"] - seconds["tracking, MLflow itself"]
        added += seconds["checkpoints"] - seconds["checkpoints, PyTorch itself"]
        for part, took in [*sorted(seconds.items()), ("added to MLflow and PyTorch", added)]:
            print(f"  {part:<28} {took:7.2f} s  {took / totals[name]:6.2%}")


if __name__ == "__main__":
    main()
