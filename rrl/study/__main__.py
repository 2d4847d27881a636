"""``python -m rrl.study FILE`` is ``rrl study FILE``."""

import sys

from rrl.study.command import main

sys.exit(main(sys.argv[1:]))
