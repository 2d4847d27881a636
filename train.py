"""Train a policy: ``python train.py --config conf/quickstart.yaml``.

Any value can be changed on the command line (``--model.init_args.gamma 0.98``, ``--trainer.max_epochs 20``); ``--help``
and ``--print_config`` list all of them. ``--ckpt_path runs/<run>/checkpoints/last.ckpt`` continues a run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The networks are tiny and MuJoCo's own threads need the cores: more than one thread per tensor operation costs more in
# waiting than it gains. Must be decided before torch is imported; the environment variable overrides it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from rrl.train_command import run_training


def main(args: list[str] | None = None) -> int:
    """Run one training from configuration to final checkpoint.

    Args:
        args: Command line arguments; those of the process by default.

    Returns:
        The exit code: 0 after a finished run, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    defaults = Path(__file__).parent / "conf" / "defaults.yaml"
    return run_training(args, defaults)


if __name__ == "__main__":
    sys.exit(main())
