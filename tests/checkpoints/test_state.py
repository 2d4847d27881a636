"""The random states and the mark in a checkpoint."""

from __future__ import annotations

import io
import random

import numpy as np
import torch

from rrl.checkpoints import RunState


def draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.randn(3).tolist()


def test_global_random_streams_continue_after_a_safe_round_trip():
    random.gauss(0, 1)
    np.random.randn()  # both keep half of a pair of Gaussian draws for the next call
    file = io.BytesIO()
    torch.save(RunState().state_dict(), file)
    expected = draw()
    file.seek(0)
    RunState().load_state_dict(torch.load(file, weights_only=True))
    assert draw() == expected
