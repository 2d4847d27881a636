"""RC-ADRRL: AD-RRL, bit for bit, but for the start states that the risk chooses."""

from __future__ import annotations

import pytest
import torch

from rrl.algorithms import ADRRL, RCADRRL
from rrl.evaluation.attacks.attackers import HasOpponent
from rrl.risk import GRU, AttackReturnLabels, HorizonLabels, ReturnLabels
from rrl.tracking.figures import HasImagination, HasReliability
from tests.fitting import adrrl, fit, rcadrrl, trajectories


def choosable(**settings):
    return trajectories(start_candidates=4, **settings)


def starts_of(monkeypatch, data, **settings):
    """Train for one epoch; return the module, its last batch, and the start states that were used for that."""
    batches, starts, training_step = [], [], ADRRL.training_step
    choose = RCADRRL._choose_starts

    def choosing(self, batch):
        batches.append(batch)
        return choose(self, batch)

    def recording(self, batch, batch_idx):
        starts.append(batch.start_observations)
        training_step(self, batch, batch_idx)

    monkeypatch.setattr(RCADRRL, "_choose_starts", choosing)
    monkeypatch.setattr(ADRRL, "training_step", recording)
    module = rcadrrl(data, **settings)
    fit(module, data)
    return module, batches, starts


@pytest.mark.parametrize("settings", [{"share": 0.0}, {"choose": "uniform"}])
@pytest.mark.parametrize("make_data", [trajectories, choosable])
def test_without_chosen_states_it_is_adrrl_bit_for_bit(settings, make_data):
    data = make_data()
    module = rcadrrl(data, **settings)
    logged = fit(module, data, max_epochs=2).callback_metrics
    data = make_data()
    plain = adrrl(data)
    expected = fit(plain, data, max_epochs=2).callback_metrics
    ours = module.state_dict()
    assert module.risk.calibrator.fitted
    assert all(torch.equal(ours[name], value) for name, value in plain.state_dict().items())
    assert all(torch.equal(logged[key], value) for key, value in expected.items() if not key.startswith("time/"))
    assert "diffusion/start_risk_mean" in logged


def test_with_chosen_states_it_is_not():
    data = choosable()
    module = rcadrrl(data)
    fit(module, data)
    data = choosable()
    plain = adrrl(data)
    fit(plain, data)
    name = "protagonist.policy.log_std"
    assert not torch.equal(module.state_dict()[name], plain.state_dict()[name])


def test_the_riskiest_candidates_take_their_share_of_the_places(monkeypatch):
    data = choosable(iterations_per_epoch=3, policy_updates=2)
    module, batches, starts = starts_of(monkeypatch, data, choose="riskiest", share=0.25, update_every=3)
    assert torch.equal(starts[0], batches[0].start_observations)  # before the first fit
    assert torch.equal(starts[1], batches[1].start_observations)
    places, kept = [0, 4, 8, 12], [place for place in range(16) if place % 4 != 0]
    assert torch.equal(starts[2][:, kept], batches[2].start_observations[:, kept])
    candidates = module.risk.calibrator(batches[2].candidate_starts)
    chosen = module.risk.calibrator(starts[2][:, places])
    torch.testing.assert_close(chosen.sort(dim=1).values, candidates.sort(dim=1).values[:, -4:])


def test_states_at_risk_are_nearer_to_even_odds_than_those_of_its_uniform_twin():
    variances = {}
    for choose in ("at_risk", "uniform"):
        data = choosable(iterations_per_epoch=6, num_steps=64, imagined_trajectories=256, buffer_size=2000)
        with pytest.MonkeyPatch.context() as patch:
            module, _, starts = starts_of(patch, data, choose=choose, share=1.0)
        risk = module.risk.calibrator(starts[-1])
        variances[choose] = (risk * (1.0 - risk)).mean()
    assert variances["at_risk"] > 1.1 * variances["uniform"]


def test_every_iteration_learns_the_risk_and_logs_its_keys():
    data = choosable(iterations_per_epoch=3)
    module = rcadrrl(data, reliability_updates=(3,))
    logged = fit(module, data).callback_metrics
    assert module.risk.num_fits == module.num_protagonist_updates == 3
    assert {"risk/ece", "risk/ece_raw", "risk/fit_base_rate", "time/risk_share"} < logged.keys()
    assert 0.0 < logged["diffusion/start_risk_mean"] < 1.0
    assert not {key for key in logged if key.startswith("gate/")}
    assert len(module.reliability_states()) == 3


def test_its_diagrams_are_drawn_and_it_is_no_game():
    module = rcadrrl(choosable())
    assert isinstance(module, HasReliability)
    assert isinstance(module, HasImagination)
    assert not isinstance(module, HasOpponent)
    assert module.rollout_adversary() is None
    assert module.reliability_states() is None


def test_episodes_that_reach_over_rollouts_are_one_trajectory_of_the_risk():
    data = choosable(iterations_per_epoch=3)  # 48 steps of two worlds, whose episodes have 50
    module = rcadrrl(data)
    fit(module, data)
    assert len(module.risk.states.trajectory_ids.unique()) == 2


def test_choosing_without_candidates_is_refused():
    with pytest.raises(ValueError, match=r"`data\.start_candidates` must be at least 1 where start states are chosen"):
        rcadrrl(trajectories())


@pytest.mark.parametrize("labels", [ReturnLabels(), AttackReturnLabels()])
def test_labels_that_need_an_adversary_are_refused(labels):
    name = type(labels).__name__
    message = f"`labels` must be `HorizonLabels` or `QuantileLabels` without an adversary, got `{name}`"
    with pytest.raises(ValueError, match=message):
        rcadrrl(choosable(), labels=labels)


def test_a_predictor_that_reads_histories_is_refused():
    with pytest.raises(ValueError, match="must judge start states without their history, got `GRU`"):
        rcadrrl(choosable(), predictor=GRU())


def test_a_horizon_as_long_as_the_rollout_is_refused():
    data = choosable()
    with pytest.raises(ValueError, match="must be shorter than a rollout of 16 steps"):
        fit(rcadrrl(data, labels=HorizonLabels(horizon_steps=16)), data)
