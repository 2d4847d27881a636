"""Labels as a run asks for them: the threshold in its three readings, and a base rate without bias."""

from typing import Any

import numpy as np
import pytest
import torch

from rrl.risk import AttackReturnLabels, HorizonLabels, QuantileLabels, ReturnLabels
from rrl.risk.label_sources import Labeller
from rrl.risk.labels import failure_labels_within_horizon
from rrl.spaces import Spaces
from rrl.types import AttackRecord, EpisodeStatistics, Rollout, RolloutBatch


def build(labels: Any, *, step_seconds: float | None = 0.1, can_fail: bool = True) -> Labeller:
    return labels.build(Spaces(1, 1, [-1.0], [1.0], step_seconds=step_seconds, can_fail=can_fail))


def rollout(terminated: torch.Tensor, returns: tuple[float, ...] = ()) -> Rollout:
    num_steps, num_envs = terminated.shape
    vector, ones = torch.zeros(num_steps, num_envs, 1), torch.ones(num_steps, num_envs)
    never = torch.zeros_like(terminated)
    batch = RolloutBatch(vector, vector, ones, terminated, never, vector, ones, ones)
    record = AttackRecord(vector, never, never, ones, torch.zeros(num_envs), torch.ones(len(vector)))
    episodes = EpisodeStatistics(torch.tensor(returns), *torch.zeros(3, len(returns), dtype=torch.long))
    return Rollout(batch, episodes, vector.double(), torch.zeros(()), never.long(), record)


def test_the_end_of_a_rollout_does_not_bias_the_base_rate():
    terminated = torch.rand(50, 40_000, generator=torch.Generator().manual_seed(0)) < 0.02
    truth = 1.0 - 0.98**20
    naive = failure_labels_within_horizon(terminated, torch.zeros_like(terminated), horizon_steps=20)
    labels, known = build(HorizonLabels(horizon_steps=20))(rollout(terminated))
    assert labels[known].float().mean() == pytest.approx(truth, abs=0.005)
    assert naive.labels[naive.known].float().mean() > truth + 0.05
    assert known[:31].all()
    assert not known[31:].any()


def test_there_is_no_threshold_before_the_window_is_full():
    labeller = build(AttackReturnLabels(window=3))
    for value in (1.0, 2.0):
        labeller.take_test(value)
    assert np.isnan(labeller.return_threshold)
    assert not labeller(rollout(torch.ones(2, 1, dtype=torch.bool), (1.0, 2.0))).known.any()


def test_the_first_full_window_is_kept():
    labeller = build(AttackReturnLabels(percentile=20, window=5))
    for value in [5.0, 1.0, 4.0, 2.0, 3.0, 100.0, 200.0]:
        labeller.take_test(value)
    assert labeller.return_threshold == pytest.approx(np.percentile([5, 1, 4, 2, 3], 20))


def test_the_last_window_is_followed():
    labeller = build(AttackReturnLabels(keep="last", percentile=20, window=3))
    for value in (1.0, 2.0, 3.0, 40.0, 50.0):
        labeller.take_test(value)
    assert labeller.return_threshold == pytest.approx(np.percentile([3, 40, 50], 20))


def test_a_rollout_is_judged_by_its_own_returns():
    labeller, ended = build(ReturnLabels(percentile=25)), torch.ones(2, 1, dtype=torch.bool)
    labeller(rollout(ended, (1000.0,)))
    labels, known = labeller(rollout(ended, (1.0, 2.0, 3.0)))
    assert labels.all()
    assert known.all()
    assert labeller.return_threshold == pytest.approx(1.5)
    labeller(rollout(ended))
    assert labeller.return_threshold == pytest.approx(1.5)


def test_the_state_survives_a_checkpoint():
    labeller, copy = (build(AttackReturnLabels(keep="last", window=3)) for _ in range(2))
    for value in (1.0, 5.0):
        labeller.take_test(value)
    copy.load_state_dict(labeller.state_dict())
    for each in (labeller, copy):
        each.take_test(3.0)
    assert copy.return_threshold == labeller.return_threshold == pytest.approx(np.percentile([1, 5, 3], 20))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build(HorizonLabels(), step_seconds=None), "`horizon_steps` must be given"),
        (lambda: build(HorizonLabels(), can_fail=False), "needs a task whose episodes can fail"),
        (lambda: HorizonLabels(horizon_steps=0), "`horizon_steps` must be at least 1"),
        (lambda: HorizonLabels(horizon_seconds=0.0), "`horizon_seconds` must be positive"),
        (lambda: QuantileLabels(fraction=0.0), r"`fraction` must lie in \(0, 1\)"),
        (lambda: QuantileLabels(fraction=1.0), r"`fraction` must lie in \(0, 1\)"),
        (lambda: ReturnLabels(percentile=100.0), "`percentile` must lie"),
        (lambda: AttackReturnLabels(keep="never"), "`keep` must be"),
        (lambda: AttackReturnLabels(window=0), "`window` must be at least 1"),
    ],
)
def test_bad_arguments_raise(make: Any, message: str):
    with pytest.raises(ValueError, match=message):
        make()
