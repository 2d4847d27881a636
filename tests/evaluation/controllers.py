"""Policies for InvertedPendulum-v5 that need no training, one of which can be made to end its process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TASK = "InvertedPendulum-v5"
GAINS = np.array([0.5, 20.0, 1.0, 3.0])


def balance(observations: NDArray[Any]) -> NDArray[Any]:
    """Keep the pole upright: a linear controller that stands for good as long as nobody pushes."""
    return np.clip(observations @ GAINS[:, None], -3.0, 3.0)


def upright():
    return balance


def limp():
    return lambda observations: np.zeros((len(observations), 1))


def treacherous():
    """Balance, but do to the process what the file named by ``TREACHERY`` says, once most calls have gone well."""
    calls = 0

    def act(observations: NDArray[Any]) -> NDArray[Any]:
        nonlocal calls
        calls += 1
        order = Path(os.environ.get("TREACHERY", "nowhere"))
        if calls > 1500 and order.exists():
            deed = order.read_text()
            order.unlink()
            if deed == "interrupt":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGKILL)
        return balance(observations)

    return act
