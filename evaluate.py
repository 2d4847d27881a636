"""Evaluate a trained policy: ``python evaluate.py --checkpoint runs/<run>/checkpoints/best.ckpt``."""

from __future__ import annotations

import argparse
import os
import sys

# As in train.py: tiny networks, and the simulator needs the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rrl.checkpoints import CheckpointError
from rrl.evaluation.report import evaluate_checkpoint, format_table, log_to_run


def main(args: list[str] | None = None) -> int:
    """Print the nominal evaluation of a checkpoint and log it to the MLflow run that trained it.

    Args:
        args: Command line arguments; those of the process by default.

    Returns:
        The exit code: 0, or 2 for bad input.
    """
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--checkpoint", required=True, help="checkpoint that train.py has written")
    parser.add_argument("--episodes", type=int, default=100, help="episodes to run (default: %(default)s)")
    try:
        options, unknown = parser.parse_known_args(args)
        if unknown:
            raise ValueError(f"There is no option {unknown[0]}; see --help.")
        result = evaluate_checkpoint(options.checkpoint, options.episodes)
    except (CheckpointError, ValueError, argparse.ArgumentError) as error:
        sys.stderr.write(f"evaluate.py: error: {error}\n")
        return 2
    sys.stdout.write(format_table(result) + "\n")
    sys.stdout.write(log_to_run(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
