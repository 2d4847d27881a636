"""One training, from the command line to the exit code."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rrl.checkpoints import BestAndLastCheckpoint, CheckpointError
from rrl.cli import RRLCLI
from rrl.cli_errors import ConfigurationError
from rrl.shipped import CONF, list_configurations, with_shipped
from rrl.tracking import MLflowRunLogger

DEFAULTS = CONF / "defaults.yaml"
"""Read before every configuration."""


def main(args: list[str] | None = None) -> int:
    """Run one training, or list the shipped configurations (``--list``); see :func:`run_training` for the exit code.

    Args:
        args: Command line arguments; those of the process by default.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]))
    args = with_shipped(sys.argv[1:] if args is None else args)
    if args == ["--list"]:
        sys.stdout.write(f"{list_configurations()}\n")
        return 0
    return run_training(args, DEFAULTS)


def run_training(args: list[str] | None, defaults: Path) -> int:
    """Run one training: 0 after a finished run, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM."""
    quieten_lightning()
    try:
        cli = RRLCLI(args, defaults)
    except (ConfigurationError, CheckpointError) as error:
        sys.stderr.write(f"train.py: error: {error}\n")
        return 2
    code = 0
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.config.ckpt_path, weights_only=True)
    except SIGTERMException:
        code = 143
    except SystemExit:  # how Lightning ends after Ctrl-C
        code = 130
    report_end(cli.trainer)
    return code


def quieten_lightning() -> None:
    """Silence advertisements, hardware lists and warnings about what this package does on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Sized iterable datasets in the main process are what keeps rollouts on-policy; see rrl/data.
    for message in ("Your `IterableDataset` has `__len__` defined", ".*does not have many workers", ".*LeafSpec"):
        warnings.filterwarnings("ignore", message=message)
    # Our commands hand their arguments over; nobody gives any besides.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    # Nothing to compare before the first evaluation; a resumed run writes where it wrote before; what a loader would
    # have to remember in the middle of an epoch is in our data module.
    for message in (".*find the monitored key", "Checkpoint directory .* exists", "You're resuming from a checkpoint"):
        warnings.filterwarnings("ignore", message=message)


def report_end(trainer: Trainer) -> None:
    """Say where the results are."""
    checkpoint = trainer.checkpoint_callback
    if not (trainer.is_global_zero and isinstance(checkpoint, BestAndLastCheckpoint)):
        return
    lines = {"best checkpoint": checkpoint.best_model_path, "last checkpoint": checkpoint.last_model_path}
    for logger in trainer.loggers:
        if isinstance(logger, MLflowRunLogger):
            lines["all runs"] = logger.page
    sys.stdout.writelines(f"{name}: {path}\n" for name, path in lines.items() if path)
