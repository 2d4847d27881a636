"""Mean, tail and worst case of episode returns, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rrl.cvar import empirical_cvar
from rrl.evaluation.episodes import EpisodeReturns
from rrl.random_streams import Purpose, numpy_stream

Array = NDArray[np.float64]

TAIL = 0.1
"""Fraction of the episodes in the reported tail: CVaR10 is the mean of the worst tenth."""
CONFIDENCE = 0.95
RESAMPLES = 2000


class Estimate(NamedTuple):
    """A statistic of episodes with the interval that they leave open."""

    value: float
    low: float
    """Lower end of the 95 % percentile bootstrap interval over episodes; NaN for a single episode."""
    high: float
    """Upper end."""


class ReturnSummary(NamedTuple):
    """Statistics of the episodes of one policy. The intervals say nothing about other training seeds."""

    return_mean: Estimate
    return_cvar: Estimate
    """Mean of the worst tenth of the episodes."""
    return_worst: Estimate
    """Lowest return; its interval is about this sample only, as a minimum has no bootstrap theory."""
    episode_length: Estimate
    """Environment steps."""
    forward_distance: Estimate | None
    """Metres; None where the task does not move forward."""


def summarize_returns(episodes: EpisodeReturns, seed: int = 0) -> ReturnSummary:
    """Summarise episodes.

    Args:
        episodes: At least one episode.
        seed: Seed of the resampling.

    Returns:
        The statistics with their intervals.
    """
    distances = episodes.forward_distances
    return ReturnSummary(
        return_mean=bootstrap(episodes.returns, np.mean, seed),
        return_cvar=bootstrap(episodes.returns, tail_mean, seed),
        return_worst=bootstrap(episodes.returns, np.min, seed),
        episode_length=bootstrap(episodes.lengths.astype(np.float64), np.mean, seed),
        forward_distance=None if distances is None else bootstrap(distances, np.mean, seed),
    )


def bootstrap(samples: Array, statistic: Callable[[Array], float], seed: int = 0) -> Estimate:
    """Estimate a statistic with its percentile bootstrap interval.

    Args:
        samples: Independent samples. Shape ``[E]``, ``E >= 1``.
        statistic: Maps samples of shape ``[E]`` to a number.
        seed: Seed of the resampling.

    Returns:
        The estimate; its interval is a single point if all samples are equal, and NaN for one sample.

    Example:
        >>> bootstrap(np.full(5, 3.0), np.mean)
        Estimate(value=3.0, low=3.0, high=3.0)
    """
    value = float(statistic(samples))
    if len(samples) < 2:
        return Estimate(value, float("nan"), float("nan"))
    from scipy.stats import bootstrap as scipy_bootstrap

    interval = scipy_bootstrap(
        (samples,),
        statistic,
        vectorized=False,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=numpy_stream(Purpose.BOOTSTRAP, seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def tail_mean(returns: Array) -> float:
    """Average the worst tenth of returns.

    Args:
        returns: Episode returns. Shape ``[E]``.

    Returns:
        Their CVaR10, in units of reward.

    Example:
        >>> tail_mean(np.arange(20.0))
        0.5
    """
    return float(empirical_cvar(torch.as_tensor(returns, dtype=torch.float64), TAIL))
