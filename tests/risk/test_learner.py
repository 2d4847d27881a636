"""All parts together on a walk along a ledge: each rollout is scored before anything is fitted to it."""

import dataclasses
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from rrl.configuration import from_plain, to_plain
from rrl.risk import (
    GRU,
    MLP,
    AdaptiveBudget,
    AttackReturnLabels,
    FixedThreshold,
    Gate,
    Histogram,
    HorizonLabels,
    Logistic,
    QuantileLabels,
    RiskLearner,
    RiskModel,
    StochasticLogistic,
)
from rrl.risk.dataset import trajectory_ids
from rrl.risk.labels import failure_labels_within_horizon
from rrl.spaces import Spaces
from rrl.types import AttackRecord, EpisodeStatistics, Rollout, RolloutBatch

EDGE = 3.0
STEPS, WORLDS = 300, 8
SPACES = Spaces(1, 1, [-1.0], [1.0], step_seconds=0.1)


def learner(labels: Any = HorizonLabels(horizon_steps=6), **settings: Any) -> RiskLearner:
    gate = settings.pop("gate", Gate())
    return RiskLearner(SPACES, labels=labels, model=RiskModel(**settings), gate=gate)


def walk(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Positions of walkers that terminate beyond the edge on either side and then begin anew at zero."""
    position, positions, terminated = torch.zeros(WORLDS), [], []
    for _ in range(STEPS):
        positions.append(position)
        position = position + 0.5 * torch.randn(WORLDS, generator=generator)
        fallen = position.abs() > EDGE
        terminated.append(fallen)
        position = torch.where(fallen, 0.0, position)
    return torch.stack(positions).unsqueeze(-1), torch.stack(terminated)


def rollout(risk: RiskLearner, generator: torch.Generator, number: int) -> Rollout:
    observations, terminated = walk(generator)
    never, ones = torch.zeros_like(terminated), torch.ones(STEPS, WORLDS)
    uniforms = torch.rand(STEPS, WORLDS, generator=generator)
    seen = risk.calibrator(observations) if risk.calibrator.predictor.history is None else ones
    attack = AttackRecord(
        observations,
        risk.gate(seen, uniforms),
        risk.gate.explored(uniforms),
        seen,
        torch.zeros(WORLDS),
        torch.ones(STEPS),
    )
    ids = trajectory_ids(terminated, never) + 10_000 * number
    batch = RolloutBatch(observations, observations, ones, terminated, never, observations, ones, ones)
    nobody = EpisodeStatistics(torch.zeros(0), *torch.zeros(3, 0, dtype=torch.long))
    return Rollout(batch, nobody, observations.double(), torch.zeros(()), ids, attack)


def test_prequential_risk_is_skilled_calibrated_and_held_to_its_budget():
    generator = torch.Generator().manual_seed(0)
    risk = learner(gate=Gate(rule=AdaptiveBudget(budget=0.3)))
    for number in range(8):
        batch = rollout(risk, generator, number)
        metrics, scored = risk.learn(batch, update=number + 1)
    labels, known = failure_labels_within_horizon(batch.transitions.terminated, torch.zeros(STEPS, WORLDS).bool(), 6)
    # Nobody can do better than the distance from the middle, which is all that matters here.
    distance = batch.transitions.observations[known].abs().squeeze(-1)
    attainable = float(binary_auroc(distance, labels[known].long()))
    assert metrics["risk/auroc"] > 0.95 * attainable > 0.75
    assert metrics["risk/ece"] < 0.06
    assert metrics["risk/brier"] < 0.9 * metrics["risk/base_rate"] * (1.0 - metrics["risk/base_rate"])
    assert float(batch.attack.is_open[~batch.attack.explored].double().mean()) == pytest.approx(0.3, abs=0.1)
    assert metrics["gate/skill"] == 1.0
    assert len(scored) == 3
    assert risk.num_fits == 8


def test_a_fit_happens_at_every_second_update_if_so_asked():
    risk, generator = learner(update_every=2), torch.Generator().manual_seed(0)
    first, _ = risk.learn(rollout(risk, generator, 0), update=1)
    second, _ = risk.learn(rollout(risk, generator, 1), update=2)
    assert not first
    assert second["risk/fit_base_rate"] > 0
    assert "risk/brier" not in second
    assert risk.num_fits == 1


@pytest.mark.parametrize("predictor", [MLP(num_updates=3), StochasticLogistic()])
def test_a_restored_learner_goes_on_as_the_first_one(predictor: Any):
    first, second = (learner(predictor=predictor, held_out="random") for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    batches = [rollout(first, generator, number) for number in range(2)]
    first.learn(batches[0], update=1)
    second.load_state_dict(first.state_dict())
    assert first.learn(batches[1], update=2)[0] == second.learn(batches[1], update=2)[0]
    observations = batches[0].transitions.observations
    assert torch.equal(first.calibrator(observations), second.calibrator(observations))


@pytest.mark.parametrize(
    "labels", [HorizonLabels(horizon_steps=6), AttackReturnLabels(), QuantileLabels(horizon_steps=6)]
)
@pytest.mark.parametrize("predictor", [Logistic(), StochasticLogistic()])
def test_a_learner_can_be_sent_to_another_process(labels: Any, predictor: Any):
    assert pickle.loads(pickle.dumps(learner(labels, predictor=predictor))).num_fits == 0


def test_another_seed_holds_out_other_trajectories():
    first, second = learner(held_out="random"), learner(held_out="random", seed=1)
    batch = rollout(first, torch.Generator().manual_seed(0), 0)
    for risk in (first, second):
        risk.learn(batch, update=1)
    assert not torch.equal(first.calibrator.calibration_map.rates, second.calibrator.calibration_map.rates)


def test_building_a_network_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    learner(predictor=MLP())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_data_holds_what_the_predictor_reads():
    risk = learner(predictor=GRU(history=4, num_updates=1), buffer_capacity=500)
    assert risk.states.stored_observations.shape == (500, 4, 1)
    risk.learn(rollout(risk, torch.Generator().manual_seed(0), 0), update=1)
    assert risk.calibrator.fitted


@pytest.mark.parametrize(
    "settings",
    [
        AttackReturnLabels(),
        RiskModel(predictor=StochasticLogistic(), calibration="platt"),
        RiskModel(calibration=Histogram(num_bins=3), reliability_updates=(2,)),
        Gate(rule=FixedThreshold(threshold=0.1)),
    ],
)
def test_settings_survive_a_checkpoint(settings: Any):
    assert to_plain(from_plain(to_plain(settings))) == to_plain(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": "magic"}, "`calibration` must be .*'magic'"),
        ({"held_out": "some"}, "`held_out` must be .*'some'"),
        ({"buffer_capacity": 0}, "`buffer_capacity` must be at least 1"),
        ({"buffer_iterations": 0}, "`buffer_iterations` must be at least 1"),
        ({"update_every": 0}, "`update_every` must be at least 1"),
        ({"error_bins": 0}, "`error_bins` must be at least 1"),
    ],
)
def test_bad_settings_are_named(settings: Any, message: str):
    with pytest.raises(ValueError, match=message):
        RiskModel(**settings)


def test_without_an_adversary_the_risk_is_the_same_and_the_gate_stays_as_it_was():
    attacked, free = learner(), learner()
    batches = [rollout(attacked, torch.Generator().manual_seed(number), number) for number in range(2)]
    for update, batch in enumerate(batches, start=1):
        expected, _ = attacked.learn(batch, update=update)
        metrics, _ = free.learn(dataclasses.replace(batch, attack=None), update=update)
    assert metrics == {key: value for key, value in expected.items() if key.startswith("risk/")}
    assert {"risk/ece", "risk/fit_base_rate"} < metrics.keys()
    observations = batches[0].transitions.observations
    assert torch.equal(free.calibrator(observations), attacked.calibrator(observations))
    assert attacked.gate.fitted
    assert not free.gate.fitted


def test_a_horizon_as_long_as_the_rollout_is_refused():
    risk = learner(HorizonLabels(horizon_steps=STEPS))
    batch = rollout(risk, torch.Generator(), 0)
    with pytest.raises(ValueError, match="must be shorter than a rollout of 300 steps"):
        risk.learn(batch, update=1)
