"""The command line of an evaluation: of one checkpoint in unchanged worlds, or of policies as a configuration says."""

from __future__ import annotations

import os
import sys

import torch

from rrl.checkpoints import CheckpointError
from rrl.evaluation.command import run_command
from rrl.evaluation.training.checkpoint import evaluate_checkpoint, format_table, log_to_run
from rrl.options import OptionParser
from rrl.shipped import with_shipped

DESCRIPTION = """Evaluate a trained policy: ``python evaluate.py --checkpoint runs/<run>/checkpoints/best.ckpt``.

How robust policies are, in one report: ``python evaluate.py --config conf/evaluation/walker.yaml``. Any setting can be
changed on the command line (``--suite``, ``--episodes``, ``--output``, ``--workers``, ...); ``--config FILE --help``
lists them.
"""


def main(args: list[str] | None = None) -> int:
    """Print the nominal evaluation of a checkpoint and log it to its MLflow run, or evaluate as a configuration says.

    Args:
        args: Command line arguments; those of the process by default.

    Returns:
        The exit code: 0, 2 for bad input, 130 after Ctrl-C; of an evaluation by configuration also 1.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]))
    try:
        return run(with_shipped(sys.argv[1:] if args is None else args))
    except KeyboardInterrupt:
        sys.stderr.write("\nevaluate.py: stopped\n")
        return 130


def run(args: list[str]) -> int:
    """Evaluate as the arguments say; return the exit code of :func:`main`."""
    if any(argument.partition("=")[0] == "--config" for argument in args):
        return run_command(args)
    parser = OptionParser(prog="evaluate.py", description=DESCRIPTION)
    parser.add_argument("--checkpoint", help="checkpoint that train.py has written, or zoo:NAME")
    parser.add_argument("--episodes", type=int, default=100, help="episodes to run (default: %(default)s)")
    parser.add_argument("--env_id", help="module:id, to allow the import of the module in which it was trained")
    try:
        options = parser.parse_args(args)
        if options.checkpoint is None:
            raise ValueError("Either --checkpoint or --config must say what to evaluate. See --help.")
        result = evaluate_checkpoint(options.checkpoint, options.episodes, options.env_id)
    except (CheckpointError, ValueError) as error:
        sys.stderr.write(f"evaluate.py: error: {error}\n")
        return 2
    sys.stdout.write(format_table(result) + "\n")
    sys.stdout.write(log_to_run(result) + "\n")
    return 0
