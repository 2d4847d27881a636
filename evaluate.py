"""Evaluate a trained policy: ``python evaluate.py --checkpoint runs/<run>/checkpoints/best.ckpt``.

How robust policies are, in one report: ``python evaluate.py --config conf/evaluation/walker.yaml``. Any setting can be
changed on the command line (``--suite``, ``--episodes``, ``--output``, ``--workers``, ...); ``--config FILE --help``
lists them.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    # While the libraries load there is nothing to finish: Ctrl-C ends the process without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
# As in train.py: tiny networks, and the simulator needs the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rrl.evaluate_command import main

if __name__ == "__main__":
    # Policies given as module:function may lie in the working folder.
    sys.path.insert(0, os.getcwd())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
