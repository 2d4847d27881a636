"""The statistics and what their intervals promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rrl.evaluation import EpisodeReturns, summarize_returns
from rrl.evaluation.intervals import (
    bootstrap,
    compare,
    interquartile_mean,
    mean_over_seeds,
    performance_profile,
    probability_of_improvement,
    tail_mean,
)


def episodes(returns, distances=None):
    count = len(returns)
    return EpisodeReturns(np.asarray(returns, float), np.full(count, 7), np.zeros(count, bool), distances)


def test_summary_of_hand_made_returns():
    summary = summarize_returns(episodes(range(20), distances=np.arange(20.0)))
    assert summary.return_mean.value == 9.5
    assert summary.return_cvar.value == 0.5
    assert summary.return_worst.value == 0.0
    assert summary.episode_length == (7.0, 7.0, 7.0)
    assert summary.forward_distance is not None
    assert summary.forward_distance.value == 9.5
    assert summary.return_mean.low < 9.5 < summary.return_mean.high


def test_worst_is_below_tail_is_below_mean():
    summary = summarize_returns(episodes(np.random.default_rng(0).normal(size=50)))
    assert summary.return_worst.value <= summary.return_cvar.value <= summary.return_mean.value


def test_tail_of_few_episodes_is_their_worst():
    assert tail_mean(np.array([3.0, 1.0, 2.0])) == 1.0


def test_single_episode_has_no_interval():
    assert bootstrap(np.array([2.0]), np.mean).value == 2.0
    assert not bootstrap(np.array([2.0]), np.mean).has_interval
    assert bootstrap(np.array([2.0, 2.0]), np.mean).has_interval


def test_same_seed_gives_the_same_interval():
    samples = np.random.default_rng(1).normal(size=30)
    assert bootstrap(samples, np.mean, seed=3) == bootstrap(samples, np.mean, seed=3)


def test_interval_of_the_mean_covers_it_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr("rrl.evaluation.intervals.RESAMPLES", 200)
    rng = np.random.default_rng(2)
    estimates = [bootstrap(rng.normal(size=50), np.mean, seed=n) for n in range(100)]
    covered = sum(estimate.low <= 0.0 <= estimate.high for estimate in estimates)
    assert covered == pytest.approx(94, abs=6)


scores = arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6))


def test_interquartile_mean_of_eight_is_the_mean_of_the_middle_four():
    scores = np.array([[8.0, -900.0, 3.0, 4.0], [5.0, 7.0, 2.0, 900.0]])
    assert interquartile_mean(scores).value == (3 + 4 + 5 + 7) / 4


@given(scores)
def test_interquartile_mean_lies_within_the_middle_half_and_forgets_order(values):
    iqm = interquartile_mean(values[None]).value
    ordered = np.sort(values)
    kept = ordered[len(values) // 4 : len(values) - len(values) // 4]
    assert kept[0] - 1e-6 <= iqm <= kept[-1] + 1e-6
    assert interquartile_mean(values[None, ::-1]).value == pytest.approx(iqm, abs=1e-6)


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_one_or_two_seeds_have_no_interval(num_seeds):
    values = np.arange(2.0 * num_seeds).reshape(num_seeds, 2)
    band = mean_over_seeds(values)
    assert np.isfinite(band.values).all()
    assert np.isnan([band.low, band.high]).all()
    assert not interquartile_mean(values).has_interval
    assert not compare(values[:, 0], np.arange(9.0)).difference.has_interval


@settings(max_examples=25, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(3, 8), st.integers(1, 5)), elements=st.floats(-1e6, 1e6)))
def test_interval_of_the_mean_contains_it_and_stays_within_the_seeds(values):
    band = mean_over_seeds(values)
    slack = 1e-9 * (1.0 + np.abs(values).max())
    assert (band.low <= band.values + slack).all()
    assert (band.values <= band.high + slack).all()
    assert (values.min(axis=0) - slack <= band.low).all()
    assert (band.high <= values.max(axis=0) + slack).all()


def test_seed_without_a_quantity_leaves_that_one_unknown():
    band = mean_over_seeds(np.array([[1.0, math.nan], [2.0, 1.0], [3.0, 1.0]]))
    assert band.values[0] == 2.0
    assert np.isfinite([band.low[0], band.high[0]]).all()
    assert np.isnan([band.values[1], band.low[1], band.high[1]]).all()


def test_scores_of_a_seed_are_resampled_together():
    """Copies of a column add no information, so they must not narrow the interval."""
    column = np.random.default_rng(0).normal(size=(12, 1))
    assert interquartile_mean(np.repeat(column, 30, axis=1)) == pytest.approx(interquartile_mean(column))


def test_intervals_of_twenty_seeds_cover_the_truth_and_those_of_three_do_not():
    generator = np.random.default_rng(0)
    covered = {}
    for num_seeds in (3, 20):
        # Each column is an experiment of its own, whose truth is zero.
        band = mean_over_seeds(generator.normal(size=(num_seeds, 1000)))
        covered[num_seeds] = np.mean((band.low <= 0.0) & (band.high >= 0.0))
    assert covered[20] == pytest.approx(0.93, abs=0.025)
    assert covered[3] < 0.85


@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.7])
def test_probability_of_improvement_of_shifted_normals_has_its_closed_form(shift):
    generator = np.random.default_rng(1)
    first, second = generator.normal(shift, 1.0, 400), generator.normal(0.0, 1.0, 400)
    exact = 0.5 * (1.0 + math.erf(shift / 2.0))
    estimate = probability_of_improvement(first, second)
    assert estimate.value == pytest.approx(exact, abs=0.05)
    assert estimate.low < exact < estimate.high


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, st.integers(1, 2), elements=st.integers(0, 3)), scores)
def test_probability_of_improvement_counts_pairs_and_is_complementary(first, second):
    wins = np.mean([(a > b) + 0.5 * (a == b) for a in first for b in second])
    assert probability_of_improvement(first, second).value == pytest.approx(wins)
    assert probability_of_improvement(second, first).value == pytest.approx(1.0 - wins)


def test_probability_has_no_interval_where_all_pairs_agree():
    estimate = probability_of_improvement(np.array([4.0, 5.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    assert estimate.value == 1.0
    assert not estimate.has_interval


def test_three_against_three_seeds_can_never_be_significant():
    assert compare(np.array([4.0, 5.0, 6.0]), np.array([1.0, 2.0, 3.0])).p_value == pytest.approx(2 / math.comb(6, 3))


def test_interval_of_a_difference_covers_it():
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        interval = compare(generator.normal(1.0, 1.0, 15), generator.normal(0.0, 2.0, 15)).difference
        covered += interval.low <= 1.0 <= interval.high
    assert 86 <= covered <= 99


def test_unknown_score_makes_a_comparison_unknown():
    comparison = compare(np.array([1.0, math.nan, 2.0]), np.ones(3))
    assert np.isnan([*comparison.difference, *comparison.probability, comparison.p_value]).all()


def test_performance_profile_counts_cells_and_falls():
    returns = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 9.0], [5.0, 5.0, 5.0, 5.0]])
    profile = performance_profile(returns, np.array([0.0, 1.0, 4.5, 9.0]))
    assert profile.values == pytest.approx([1.0, (3 / 4 + 1 / 4 + 1) / 3, (0 + 1 / 4 + 1) / 3, 0.0])
    assert (np.diff(profile.values) <= 0).all()
    assert (profile.low <= profile.values).all()
    assert (profile.values <= profile.high).all()
