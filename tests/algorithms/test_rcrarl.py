"""The gated game: an open gate is RARL, a shut one leaves the policy alone, and every option runs."""

from dataclasses import replace

import lightning
import pytest
import torch

from rrl.algorithms import RARL, RCRARL
from rrl.algorithms.advantage_batch import estimate_advantages
from rrl.algorithms.adversaries import GatedAdversary
from rrl.algorithms.rarl import adversary_batch
from rrl.data import RolloutDataModule
from rrl.risk import (
    GRU,
    MLP,
    AdaptiveBudget,
    AttackReturnLabels,
    BaseRateThreshold,
    Budget,
    FixedThreshold,
    Gate,
    HorizonLabels,
    Logistic,
    QuantileLabels,
    Restarts,
    ReturnLabels,
    RiskModel,
)
from tests.algorithms.test_rarl import Metrics, players_equal, saddle
from tests.games import fit, game

HOPPER = {"num_envs": 8, "num_steps": 64, "iterations_per_epoch": 4, "force_limit": 20.0}
SHORT = HorizonLabels(horizon_steps=10)
FREE = Gate(min_open_steps=1)
BOTH = ("protagonist", "adversary")


def hopper() -> RolloutDataModule:
    return RolloutDataModule("rrl/Hopper6Adv-v1", **HOPPER)


def train(data: RolloutDataModule, *, epochs: int = 1, **options: object):
    lightning.seed_everything(7, verbose=False)
    module = game(RCRARL, data, **{"gate": FREE, "labels": SHORT, **options})
    metrics = Metrics()
    fit(module, data, epochs=epochs, callbacks=[metrics])
    return module, metrics.steps


@pytest.mark.mujoco
@pytest.mark.parametrize("predictor", [Logistic(), MLP(num_updates=10)])
def test_an_open_gate_is_rarl_bit_for_bit(predictor):
    gate = replace(FREE, exploration=1.0)
    gated, steps = train(hopper(), gate=gate, risk_model=RiskModel(predictor=predictor))
    data = hopper()
    lightning.seed_everything(7, verbose=False)
    free, metrics = RARL(data.spaces), Metrics()
    fit(free, data, callbacks=[metrics])
    assert gated.risk.calibrator.fitted
    assert all(players_equal(getattr(gated, name), getattr(free, name)) for name in BOTH)
    assert metrics.steps[-1] == {key: steps[-1][key] for key in metrics.steps[-1]}
    assert steps[-1]["gate/open_fraction"] == 1.0


@pytest.mark.mujoco
@pytest.mark.parametrize("restarts", [None, Restarts(share=0.0)])
def test_without_gate_and_restarts_it_is_rarl_bit_for_bit(restarts):
    plain, steps = train(hopper(), gate=None, restarts=restarts)
    data = hopper()
    lightning.seed_everything(7, verbose=False)
    free, metrics = RARL(data.spaces), Metrics()
    fit(free, data, callbacks=[metrics])
    assert all(players_equal(getattr(plain, name), getattr(free, name)) for name in BOTH)
    assert metrics.steps[-1] == {key: steps[-1][key] for key in metrics.steps[-1]}
    assert not any(key.startswith("gate/") for key in steps[-1])


@pytest.mark.mujoco
def test_the_gate_is_open_before_the_first_fit_and_holds_its_budget_after_it():
    module, steps = train(hopper(), epochs=2, gate=replace(FREE, rule=Budget(budget=0.3), exploration=0.0))
    assert steps[0]["gate/open_fraction"] == 1.0
    assert steps[-2]["gate/open_fraction"] == pytest.approx(0.3, abs=0.15)
    assert steps[-1]["gate/force_rms"] < steps[0]["gate/force_rms"]
    assert {"risk/auroc", "risk/ece", "risk/ece_raw", "risk/fit_base_rate"} <= set(steps[-1])
    assert module.risk.num_fits == 4


@pytest.mark.mujoco
def test_a_rollout_is_scored_before_it_is_learnt_from():
    _, steps = train(hopper(), epochs=1)
    assert "risk/fit_base_rate" in steps[0]
    assert "risk/brier" not in steps[0]
    assert "risk/brier" in steps[2]


@pytest.mark.mujoco
def test_a_constant_signal_is_a_random_gate_of_the_same_budget():
    gate = replace(FREE, rule=Budget(budget=0.3), exploration=0.0, signal="constant")
    _, steps = train(hopper(), epochs=2, gate=gate)
    assert steps[-1]["gate/open_fraction"] == pytest.approx(0.3, abs=0.08)


def test_shut_steps_leave_the_policy_update_and_stay_in_the_values():
    data = hopper()
    lightning.seed_everything(0, verbose=False)
    module = RCRARL(data.spaces)
    rollout = one_rollout(data, module)
    half = torch.arange(64).unsqueeze(1).expand(64, 8) % 2 == 0
    gated = replace(rollout, attack=replace(rollout.attack, is_open=half))
    batch, expected = adversary_batch(gated), adversary_batch(rollout)
    assert torch.equal(batch.weights > 0, half)
    assert torch.equal(batch.value_weights, expected.value_weights)
    assert torch.equal(batch.rewards, -rollout.transitions.rewards)
    with torch.no_grad():
        ours, theirs = (estimate_advantages(module.adversary, part, module.learner) for part in (batch, expected))
    assert torch.equal(ours.value_targets, theirs.value_targets)
    assert not gated.attack.executed[~half].any()


def one_rollout(data: RolloutDataModule, module: RCRARL):
    data.setup("fit")
    adversary = GatedAdversary(module.adversary, module.risk.calibrator, module.risk.gate)
    return data.collector.collect(module, 64, adversary)


@pytest.mark.mujoco
def test_a_gate_that_is_shut_for_good_leaves_the_adversarys_policy_alone():
    shut = replace(FREE, rule=FixedThreshold(threshold=1.0), exploration=0.0)
    module, steps = train(hopper(), gate=shut)
    untouched = RCRARL(hopper().spaces)
    lightning.seed_everything(7, verbose=False)
    untouched = RCRARL(hopper().spaces)
    assert steps[-1]["gate/open_fraction"] == 0.0
    assert steps[-1]["adversary/skipped"] == 1.0
    assert players_equal(module.adversary.policy, untouched.adversary.policy)
    assert not players_equal(module.adversary.value_function, untouched.adversary.value_function)


@pytest.mark.mujoco
@pytest.mark.parametrize("predictor", [Logistic(), MLP(num_updates=3, num_members=2), GRU(num_updates=3, history=3)])
@pytest.mark.parametrize("rule", [AdaptiveBudget(), BaseRateThreshold()])
def test_every_predictor_and_gate_runs(predictor, rule):
    options = RiskModel(predictor=predictor, calibration="platt")
    module, _ = train(hopper(), gate=replace(FREE, rule=rule), risk_model=options)
    assert module.risk.gate.fitted


@pytest.mark.mujoco
@pytest.mark.parametrize("calibration", ["temperature", "isotonic", "none"])
@pytest.mark.parametrize("labels", [QuantileLabels(horizon_steps=5), ReturnLabels()])
def test_every_map_and_label_runs(calibration: str, labels):
    module, steps = train(hopper(), labels=labels, risk_model=RiskModel(calibration=calibration))
    assert 0.0 < steps[-1]["risk/fit_base_rate"] < 1.0
    assert module.risk.calibrator.fitted


@pytest.mark.mujoco
def test_a_horizon_as_long_as_the_rollout_is_refused():
    with pytest.raises(ValueError, match="must be shorter than a rollout of 64 steps"):
        train(hopper(), labels=HorizonLabels(horizon_steps=64))


def test_test_returns_set_the_papers_threshold():
    labels = AttackReturnLabels(window=2, percentile=50.0)
    module = game(RCRARL, hopper(), labels=labels)
    for value in (10.0, 20.0, 90.0):
        module.on_attack_tested(value)
    assert module.risk.labeller.return_threshold == 15.0
    with pytest.raises(ValueError, match=r"`attacks\.attackers` must hold 'learned'"):
        fit(module, hopper())


def test_updates_of_the_protagonist_are_counted():
    module = game(RCRARL, saddle(1), protagonist_updates=2, adversary_updates=1, warmup_updates=1)
    counts = []
    for update in range(8):
        module.num_updates.fill_(update)
        counts.append(module.num_protagonist_updates)
    assert counts == [0, 1, 2, 3, 3, 4, 5, 5]


@pytest.mark.mujoco
def test_a_task_without_failures_needs_other_labels():
    cheetah = RolloutDataModule("rrl/SwimmerAdv-v1")
    with pytest.raises(ValueError, match="`labels: HorizonLabels` needs a task whose episodes can fail"):
        RCRARL(cheetah.spaces)
    game(RCRARL, cheetah, labels=QuantileLabels())
