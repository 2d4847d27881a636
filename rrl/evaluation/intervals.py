"""Mean, tail and worst case of returns, and how sure they are: bootstrap intervals over episodes and over seeds."""

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


FEWEST_SEEDS = 3
"""With fewer there is no interval: a bootstrap of two values only knows the two and their mean."""
ENOUGH_SEEDS = 5
"""With fewer an interval is much narrower than it should be; the report says so."""
TRIMMED = 0.25
"""Share of the scores that the interquartile mean leaves out at each end."""
NOTHING = Estimate(math.nan)


class Band(NamedTuple):
    """Estimates of several quantities with pointwise intervals."""

    values: Array
    low: Array
    """Lower ends of the 95 % intervals; NaN with fewer than three seeds."""
    high: Array


class Comparison(NamedTuple):
    """One method against another in one number."""

    difference: Estimate
    """Difference of the means over the seeds."""
    probability: Estimate
    """Probability that a run of the first is better than one of the second, see :func:`probability_of_improvement`."""
    p_value: float
    """Two-sided Mann-Whitney test."""


def mean_over_seeds(scores: Array) -> Band:
    """Average quantities ``[S, Q]`` over the seeds. Shapes ``[Q]``; NaN where some seed lacks a quantity.

    Example:
        >>> mean_over_seeds(np.array([[1.0, 5.0], [3.0, 5.0]]))
        Band(values=array([2., 5.]), low=array([nan, nan]), high=array([nan, nan]))
    """
    known = ~np.isnan(scores).any(axis=0)
    low, high = np.full((2, scores.shape[1]), np.nan)
    if known.any():
        low[known], high[known] = _interval((scores[:, known],), lambda drawn: drawn.mean(axis=-2).T)
    return Band(scores.mean(axis=0), low, high)


def interquartile_mean(scores: Array) -> Estimate:
    """Average the middle half of the scores ``[S, C]`` of all seeds; a quarter, rounded down, is left out at each end.

    The interval resamples policies, with all their scores. All NaN if a score is.

    Example:
        >>> interquartile_mean(np.array([[-100.0, 1.0, 3.0, 50.0]])).value
        2.0
    """
    from scipy.stats import trim_mean

    def pooled(drawn: Array) -> Array:
        return np.asarray(trim_mean(drawn.reshape(*drawn.shape[:-2], -1), TRIMMED, axis=-1))

    if np.isnan(scores).any():
        return NOTHING
    low, high = _interval((scores,), pooled)
    return Estimate(float(pooled(scores)), float(low), float(high))


def compare(first: Array, second: Array) -> Comparison:
    """Compare two methods by one score a policy. Shapes ``[S]`` and ``[S']``; all NaN if a score is.

    Example:
        >>> compare(np.array([2.0, 3.0]), np.array([1.0, 2.0])).probability.value
        0.875
    """
    from scipy.stats import mannwhitneyu

    if np.isnan(first).any() or np.isnan(second).any():
        return Comparison(NOTHING, NOTHING, math.nan)
    groups = (first[:, None], second[:, None])
    low, high = _interval(groups, lambda one, two: one.mean(axis=(-1, -2)) - two.mean(axis=(-1, -2)))
    difference = Estimate(float(first.mean() - second.mean()), float(low), float(high))
    return Comparison(difference, probability_of_improvement(first, second), float(mannwhitneyu(first, second).pvalue))


def probability_of_improvement(first: Array, second: Array) -> Estimate:
    """Estimate how often a run of one method has a higher score than a run of another; ties count half.

    There is no interval where all pairs agree: the bootstrap then cannot see what it is missing.
    """
    value = float(_win_rate(first, second))
    if value in {0.0, 1.0}:
        return Estimate(value)
    low, high = _interval((first[:, None], second[:, None]), lambda one, two: _win_rate(one[..., 0], two[..., 0]))
    return Estimate(value, float(low), float(high))


def performance_profile(scores: Array, thresholds: Array) -> Band:
    """Tell which share of the cells ``[S, C]`` is above each threshold ``[K]``, on average over the seeds.

    Example:
        >>> performance_profile(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.0, 2.5])).values
        array([1. , 0.5])
    """
    return mean_over_seeds((scores[:, :, None] > thresholds).mean(axis=1))


def _interval(groups: tuple[Array, ...], statistic: Callable[..., Array]) -> tuple[Array, Array]:
    """Resample policies, or return NaN where a group has too few; ``statistic`` also takes groups without ``R``."""
    if min(len(group) for group in groups) < FEWEST_SEEDS:
        nothing = np.full_like(np.asarray(statistic(*groups), dtype=np.float64), np.nan)
        return nothing, nothing
    return percentile_interval(groups, statistic)


def _win_rate(first: Array, second: Array) -> Array:
    from scipy.stats import mannwhitneyu

    # Only the statistic is used; its exact distribution would cost seconds.
    wins = mannwhitneyu(first, second, axis=-1, method="asymptotic").statistic
    return np.asarray(wins / (first.shape[-1] * second.shape[-1]))
