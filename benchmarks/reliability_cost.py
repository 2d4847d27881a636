"""What it costs a healthy run that nothing is lost: shares of the wall clock of one training, start-up included.

Each part is timed from the outside, where it is called; parts within parts are counted once, with the outer one, and
what MLflow and PyTorch themselves take is said beside it, since no run would be without them.

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
SECONDS: Counter[str] = Counter()
RUNNING: set[str] = set()


def timed(owner: Any, name: str, part: str) -> None:
    """Add the time of each call of a function to a part, unless the part is running already."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if part in RUNNING:
            return function(*args, **kwargs)
        RUNNING.add(part)
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            SECONDS[part] += time.perf_counter() - begin
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
    timed(RemoteRun, "deliver", "tracking, with a deadline")
    timed(RemoteRun, "_deliver", "tracking, MLflow itself")
    timed(files.AtomicCheckpointIO, "save_checkpoint", "checkpoints")
    timed(files, "digest", "checkpoints, fingerprint")
    timed(torch, "save", "checkpoints, PyTorch itself")
    for name in ("on_train_batch_end", "on_train_epoch_start", "on_train_start"):
        timed(GracefulInterrupt, name, "signals")
    timed(importlib, "import_module", "tracking, MLflow itself")
    importlib.import_module("mlflow.exceptions")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="conf/trpo_hopper.yaml")
    options, rest = parser.parse_known_args()
    train.main(["--config", options.config, "--trainer.enable_progress_bar=false", *rest])
    total = time.perf_counter() - BEGIN
    print(f"{options.config}: {total:.1f} s from start to end")
    for part, seconds in sorted(SECONDS.items()):
        print(f"  {part:<28} {seconds:7.2f} s  {seconds / total:6.2%}")
    added = SECONDS["input checks"] + SECONDS["signals"]
    added += SECONDS["tracking"] - SECONDS["tracking, MLflow itself"]
    added += SECONDS["checkpoints"] - SECONDS["checkpoints, PyTorch itself"]
    print(f"  {'added to MLflow and PyTorch':<28} {added:7.2f} s  {added / total:6.2%}")


if __name__ == "__main__":
    main()
