"""Train a policy: ``python train.py --config conf/quickstart.yaml``.

Any value can be changed on the command line (``--model.init_args.gamma 0.98``, ``--trainer.max_epochs 20``); ``--help``
and ``--print_config`` list all of them. ``--ckpt_path runs/<run>/checkpoints/last.ckpt`` continues a run.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    # Until training begins there is nothing to finish: Ctrl-C ends the process without a word, also within an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
# The networks are tiny and MuJoCo's own threads need the cores: more than one thread per tensor operation costs more in
# waiting than it gains. Must be decided before torch is imported; the environment variable overrides it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rrl.train_command import main

if __name__ == "__main__":
    # Environments, wrappers and algorithms of one's own may lie in the working folder.
    sys.path.insert(0, os.getcwd())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
