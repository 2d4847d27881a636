"""The statistics and what their intervals promise."""

from __future__ import annotations

import numpy as np
import pytest

from rrl.evaluation import EpisodeReturns, summarize_returns
from rrl.evaluation.intervals import bootstrap, tail_mean


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
