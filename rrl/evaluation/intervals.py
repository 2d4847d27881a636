"""Mean, tail and worst case of episode returns, and the bootstrap intervals of any statistic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

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
    """A statistic with the interval that its samples leave open."""

    value: float
    low: float = math.nan
    """Lower end of the 95 % percentile bootstrap interval; NaN where there are too few samples for one."""
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether there were enough samples for an interval."""
        return not math.isnan(self.low)

    def named(self, name: str) -> dict[str, float]:
        """Return the value under ``name`` and the ends, NaN or not, under ``name_low`` and ``name_high``."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


class ReturnSummary(NamedTuple):
    """Statistics of the episodes of one policy. The intervals say nothing about other training seeds."""

    return_mean: Estimate
    return_cvar: Estimate
    return_worst: Estimate
    """Lowest return; its interval is about this sample only, as a minimum has no bootstrap theory."""
    episode_length: Estimate
    """Environment steps."""
    forward_distance: Estimate | None
    """Metres; None where the task does not move forward."""


def summarize_returns(episodes: EpisodeReturns, seed: int = 0) -> ReturnSummary:
    """Summarise at least one episode; ``seed`` is that of the resampling."""
    distances = episodes.forward_distances
    return ReturnSummary(
        return_mean=bootstrap(episodes.returns, np.mean, seed),
        return_cvar=bootstrap(episodes.returns, tail_mean, seed),
        return_worst=bootstrap(episodes.returns, np.min, seed),
        episode_length=bootstrap(episodes.lengths.astype(np.float64), np.mean, seed),
        forward_distance=None if distances is None else bootstrap(distances, np.mean, seed),
    )


def bootstrap(samples: Array, statistic: Callable[[Array], Any], seed: int = 0) -> Estimate:
    """Estimate a statistic of independent samples ``[E]``, with no interval for a single one."""
    value = float(statistic(samples))
    if len(samples) < 2:
        return Estimate(value)
    low, high = percentile_interval((samples,), lambda drawn: np.apply_along_axis(statistic, -1, drawn), seed)
    return Estimate(value, float(low), float(high))


def percentile_interval(
    groups: tuple[Array, ...], statistic: Callable[..., Array], seed: int = 0
) -> tuple[Array, Array]:
    """Return the ends ``[...]`` of the 95 % bootstrap intervals of a statistic; each group is resampled by itself.

    The statistic takes ``R`` resampled groups ``[R, S_k, ...]``, at least two samples in each, to numbers ``[..., R]``.
    """
    from scipy.stats import bootstrap as scipy_bootstrap

    def of_indices(*indices: NDArray[np.int64], axis: int) -> Array:
        return statistic(*(group[drawn] for group, drawn in zip(groups, indices, strict=True)))

    interval = scipy_bootstrap(
        tuple(np.arange(len(group)) for group in groups),
        of_indices,
        vectorized=True,
        axis=-1,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=numpy_stream(Purpose.BOOTSTRAP, seed),
    ).confidence_interval
    return np.asarray(interval.low), np.asarray(interval.high)


def tail_mean(returns: Array) -> float:
    """Average the worst tenth of returns (CVaR10). Shape ``[E]``.

    Example:
        >>> tail_mean(np.arange(20.0))
        0.5
    """
    return float(empirical_cvar(torch.as_tensor(returns, dtype=torch.float64), TAIL))
