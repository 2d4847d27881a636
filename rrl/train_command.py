"""One training, from the command line to the exit code."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rrl.checkpoints import BestAndLastCheckpoint, CheckpointError
from rrl.cli import RRLCLI
from rrl.cli_errors import ConfigurationError
from rrl.interrupts import GracefulInterrupt
from rrl.rollout.collector import EnvironmentFaultError
from rrl.shipped import CONF, list_configurations, with_shipped
from rrl.tracking import MLflowRunLogger
from rrl.tracking.outbox import first_line

GRACE = 1.0
"""Seconds to wait for the exit code of a process that may just be ending."""

DEFAULTS = CONF / "defaults.yaml"
"""Read before every configuration."""


HELP = """usage: rrl train --config FILE [--config FILE ...] [--SETTING VALUE ...]

Train a policy: rrl train --config conf/quickstart.yaml

  --config FILE                            a YAML file of conf/; a later one lies over the earlier
  --trainer.max_epochs N                   length of the training
  --seed_everything N                      seed of everything that is random
  --trainer.logger.init_args.run_name NAME name of the run and of its folder
  --ckpt_path runs/NAME/checkpoints/last.ckpt  continue a run, with the same --config
  --model.init_args.learner.gamma 0.98     any setting of the algorithm
  --data.init_args.num_envs 32             any setting of the worlds
  --print_config                           print all settings with their values and end
  --help_all                               every setting with its meaning: hundreds of lines

Settings by file: docs/reference/configurations.md. Judging: `rrl evaluate --help`. Several runs: `rrl study --help`.
"""


def main(args: list[str] | None = None) -> int:
    """Run one training, or list the shipped configurations (``--list``); see :func:`run_training` for the exit code.

    Args:
        args: Command line arguments; those of the process by default.
    """
    args = sys.argv[1:] if args is None else args
    if {"-h", "--help"} & {*args} or not args:
        sys.stdout.write(HELP)
        return 0 if args else 2
    args = ["--help" if argument == "--help_all" else argument for argument in args]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]))
    args = with_shipped(args)
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
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only disturb the end
        sys.stderr.write("\ntrain.py: stopped before training began\n")
        return 130
    code = fit(cli)
    report_end(cli.trainer, stopped=code in {130, 143})
    # Lightning ends the first process hard as soon as another one ends with an error, but a signal is none.
    return code if cli.trainer.is_global_zero or code in {1, 2} else 0


def fit(cli: RRLCLI) -> int:
    """Train until the end or until a signal; return the exit code."""
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.config.ckpt_path, weights_only=True)
    except SIGTERMException:
        return 143
    except (SystemExit, KeyboardInterrupt):  # how Lightning ends after Ctrl-C, and Ctrl-C after that
        return 130
    except (MisconfigurationException, CheckpointError) as error:  # what is only looked at now
        sys.stderr.write(f"train.py: error: {' '.join(str(error).split())}\n")
        return 2
    except (FloatingPointError, EnvironmentFaultError, OSError) as error:
        world = f" {getattr(cli.datamodule, 'env_id', '')}:" if isinstance(error, EnvironmentFaultError) else ""
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        what = error.strerror if isinstance(error, OSError) and error.strerror else error
        sys.stderr.write(f"train.py: error: training stopped:{world} {what}{where}\n")
        return 1
    except Exception as error:
        if (reason := lost_process(cli.trainer, error)) is None:
            reason = unusable_checkpoint(cli)
        if reason is None:
            raise
        sys.stderr.write(f"train.py: error: {reason} ({first_line(error)})\n")
        return 1
    return 0


def unusable_checkpoint(cli: RRLCLI) -> str | None:
    """Say that a run could not be continued; None once it has begun, or where there was nothing to continue."""
    begun = [each.has_begun for each in cli.trainer.callbacks if isinstance(each, GracefulInterrupt)]  # type: ignore[attr-defined]
    return f"the run cannot go on from {cli.config.ckpt_path}" if cli.config.ckpt_path and not any(begun) else None


def lost_process(trainer: Trainer, error: Exception) -> str | None:
    """Say which other process of the run has ended too early, if that led to an error; None where all are there."""
    launcher = trainer.strategy.launcher
    for rank, process in enumerate(getattr(launcher, "procs", []), start=1):
        try:
            code = process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
        if code != 0:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return f"process {rank} of the run {how}; continue from the last checkpoint."
    # Of processes that something else has started, on other machines perhaps, only the connection is known.
    is_connection = isinstance(error, RuntimeError) and re.search("gloo|NCCL|onnection", str(error))
    lost = "the connection to another process of the run is lost; continue from the last checkpoint."
    return lost if trainer.world_size > 1 and is_connection else None


def quieten_lightning() -> None:
    """Silence advertisements, hardware lists and warnings about what this package does on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What ends a run of several processes when one is gone says so.
    logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
    # Sized iterable datasets in the main process are what keeps rollouts on-policy; see rrl/data.
    for message in ("Your `IterableDataset` has `__len__` defined", ".*does not have many workers", ".*LeafSpec"):
        warnings.filterwarnings("ignore", message=message)
    # Our commands hand their arguments over; nobody gives any besides.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    # Nothing to compare before the first evaluation; a resumed run writes where it wrote before; what a loader would
    # have to remember in the middle of an epoch is in our data module.
    for message in (".*find the monitored key", "Checkpoint directory .* exists", "You're resuming from a checkpoint"):
        warnings.filterwarnings("ignore", message=message)


def report_end(trainer: Trainer, *, stopped: bool) -> None:
    """Say where the results are, and after an interruption how to go on."""
    checkpoint = trainer.checkpoint_callback
    if not (trainer.is_global_zero and isinstance(checkpoint, BestAndLastCheckpoint)):
        return
    lines = {"best checkpoint": checkpoint.best_model_path, "last checkpoint": checkpoint.last_model_path}
    for logger in trainer.loggers:
        if isinstance(logger, MLflowRunLogger):
            lines["all runs"] = logger.page
            if stopped and checkpoint.last_model_path:
                config = shlex.quote(str(logger.run_dir / "config.yaml"))
                last = shlex.quote(str(checkpoint.last_model_path))
                lines["continue"] = f"rrl train --config {config} --ckpt_path {last}"
    sys.stdout.writelines(f"{name}: {path}\n" for name, path in lines.items() if path)
