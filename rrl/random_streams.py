"""Every random stream of the project, each named by what it is for, so that no two parts ever share one.

A stream is known by its purpose, then the seed, then the indices of what draws from it: a world, an episode, a rank.
Looking at a run (evaluations, diagnostics, figures) therefore never changes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Purpose(IntEnum):
    """What random numbers are for. The values are part of every result: add to them, never change them."""

    # Of the worlds of one seed, indexed by world.
    WORLD = 0
    """Initial states and physics of a native world."""
    PUSH = 1
    ACTION = 2
    """Exploration of the policy."""
    ATTACK = 3
    """Exploration of the adversary, and draws of its gate."""
    RANDOM_ACTION = 4
    GYMNASIUM_WORLD = 5
    """Whatever an environment draws that Gymnasium steps."""
    RESTART = 6
    """Which episodes begin in states that were seen before, and in which."""

    # Of a training run.
    BUFFER = 10
    """Windows and start states, indexed by rank."""
    ADVERSARY_NETWORK = 11
    RISK_NETWORK = 12
    RISK_FIT = 13
    """Splits and minibatches, indexed by fit."""
    LOADER = 14
    """Nothing: the loader insists on a generator, and its default is the global stream."""
    START_CHOICE = 15
    """Which start states imagination takes, indexed by rank."""

    # Of those who look on. Each derives a seed of its own, indexed by the moment where it looks repeatedly.
    NOMINAL_EVALUATION = 20
    CHECKPOINT_EVALUATION = 21
    """Not the worlds on which the best checkpoint was chosen, which would flatter it."""
    ATTACK_EVALUATION = 22
    DIAGNOSTICS = 23
    """Start states and imagined trajectories."""
    REPLAY = 24
    FIGURE = 25
    BOOTSTRAP = 26

    # Of an evaluation of robustness, indexed by episode.
    EPISODE_START = 30
    OBSERVATION_NOISE = 31
    ACTION_NOISE = 32
    PUSH_TIME = 33
    PUSH_FORCE = 34
    ATTACKED_EPISODE = 35
    ATTACK_SELECTION = 36
    """Not the episodes that are reported: the lowest of several averages owes something to luck."""
    ATTACK_TRAINING = 37
    """Indexed by restart."""
    ATTACKER = 38
    """What a fixed attacker draws."""
    POLICY = 39
    """What a random policy draws."""


def numpy_stream(purpose: Purpose, seed: int, *index: int) -> np.random.Generator:
    """Make a stream of NumPy's that shares nothing with those of any other purpose, seed (not negative) or index."""
    return np.random.Generator(np.random.PCG64(_sequence(purpose, seed, index)))


def torch_stream(purpose: Purpose, seed: int, *index: int, device: torch.device | None = None) -> torch.Generator:
    """Make a stream of PyTorch's, on the CPU where the device is None."""
    import torch

    return torch.Generator(device or "cpu").manual_seed(derived_seed(purpose, seed, *index))


def derived_seed(purpose: Purpose, seed: int, *index: int, bits: int = 63) -> int:
    """Derive the seed of a whole part, such as the worlds of an evaluation, from that of the run.

    It lies in ``[0, 2**bits)``; environments that others wrote may take 32 bits only.
    """
    (word,) = _sequence(purpose, seed, index).generate_state(1, np.uint64)
    return int(word) >> (64 - bits)


@contextmanager
def seeded_globally(purpose: Purpose, seed: int, *index: int) -> Iterator[None]:
    """Let PyTorch's global stream, from which networks draw their first weights, be one of ours for a while."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(purpose, seed, *index))
        yield


def _sequence(purpose: Purpose, seed: int, index: tuple[int, ...]) -> np.random.SeedSequence:
    # NumPy pads what it is given with zeros, so that [seed] and [seed, 0] would be one stream; its keys are not padded.
    return np.random.SeedSequence(seed, spawn_key=(int(purpose), *index))
