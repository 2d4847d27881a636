"""The options build what they name, and labels do not count failures more often than successes."""

import dataclasses

import pytest
import torch

from rrl.risk import GateOptions, LabelOptions, RiskModelOptions, failure_labels_within_horizon
from rrl.risk.options import read_options
from rrl.types import AttackRecord, EpisodeStatistics, Rollout, RolloutBatch


def rollout(terminated: torch.Tensor) -> Rollout:
    num_steps, num_envs = terminated.shape
    vector, ones = torch.zeros(num_steps, num_envs, 1), torch.ones(num_steps, num_envs)
    never = torch.zeros_like(terminated)
    batch = RolloutBatch(vector, vector, ones, terminated, never, vector, ones, ones)
    record = AttackRecord(vector, never, never, ones, never.long(), torch.zeros(num_envs))
    episodes = EpisodeStatistics(torch.zeros(0), *torch.zeros(3, 0, dtype=torch.long))
    return Rollout(batch, episodes, vector.double(), torch.zeros(()), record)


def test_the_end_of_a_rollout_does_not_bias_the_base_rate():
    terminated = torch.rand(50, 40_000, generator=torch.Generator().manual_seed(0)) < 0.02
    truth = 1.0 - 0.98**20
    naive = failure_labels_within_horizon(terminated, torch.zeros_like(terminated), horizon_steps=20)
    labels, known = LabelOptions(horizon_steps=20).label(rollout(terminated), horizon_steps=20, threshold=0.0)
    assert labels[known].float().mean() == pytest.approx(truth, abs=0.005)
    assert naive.labels[naive.known].float().mean() > truth + 0.05
    assert known[:31].all()
    assert not known[31:].any()


@pytest.mark.parametrize("options_class", [LabelOptions, RiskModelOptions, GateOptions])
def test_options_survive_a_checkpoint(options_class):
    options = options_class()
    assert read_options(options_class, dataclasses.asdict(options)) == options
    assert read_options(options_class, None) == options


def test_building_a_network_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    RiskModelOptions(predictor="mlp").make_calibrator(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_buffer_holds_what_the_predictor_reads():
    options = RiskModelOptions(predictor="gru", history=4, buffer_capacity=5)
    calibrator = options.make_calibrator(3)
    assert options.make_buffer(3, calibrator.predictor.history).stored_observations.shape == (5, 4, 3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RiskModelOptions(predictor="oracle").make_calibrator(1), "`predictor` must be .*'oracle'"),
        (lambda: RiskModelOptions(calibration="magic").make_calibrator(1), "`calibration` must be .*'magic'"),
        (lambda: GateOptions(signal="noise").make_gate(), "`signal` must be .*'noise'"),
        (lambda: LabelOptions().steps(None), "`horizon_steps` must be given"),
        (lambda: LabelOptions(horizon_steps=0).steps(0.1), "`horizon_steps` must be at least 1"),
    ],
)
def test_bad_options_are_named(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
