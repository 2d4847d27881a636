"""Policies whose rows do not depend on how many there are, to the last bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.episodes import BatchPolicy


def linear_policy(obs_dim: int, action_dim: int, *, scale: float = 0.3, seed: int = 0) -> BatchPolicy:
    """A fixed policy, row by row: a matrix product would round differently for other numbers of rows."""
    weights = scale * np.random.default_rng(seed).standard_normal((action_dim, obs_dim))

    def act(observations: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.tanh((weights * row).sum(axis=1)) for row in observations])

    return act
