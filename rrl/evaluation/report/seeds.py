"""What a few training seeds say about a method: means, interquartile means and comparisons, with bootstrap intervals.

The unit of resampling is the policy, since a method is a distribution over policies: all cells of a policy stay
together. Methods that are compared are resampled separately.

References:
    Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021. Their runs on
    different tasks are independent and are resampled task by task; our sweeps share their policies, so they are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.intervals import Estimate, percentile_interval

Array = NDArray[np.float64]

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
