"""AD-RRL leaves its imagination alone while the model is worse than allowed, and trusts it no farther than is right."""

from __future__ import annotations

import math

import pytest
import torch
from lightning import Callback

from rrl.a2c import A2C
from rrl.algorithms.base import RLModule
from rrl.algorithms.mixture import Imagination
from rrl.evaluation import ImaginationDiagnostics
from tests.fitting import adrrl, changed, fit, recorded_bounds, snapshot, trajectories

REAL, IMAGINED = 32, 48
"""Transitions of one small rollout, and of what is imagined beside it."""
FOUND_GOOD, FOUND_BAD = ({"model/replay_error": error, "model/persistence_error": 2.0} for error in (0.9, 1.1))
AGREES = FOUND_GOOD | {"model/gradient_agreement": 0.8}


class Verdicts(ImaginationDiagnostics):
    """Diagnoses what it is told to."""

    def __init__(self, *verdicts: dict[str, float]) -> None:
        super().__init__(every_n_epochs=1)
        self.verdicts = iter(verdicts)

    def diagnose(self, data, module):
        return next(self.verdicts)


class Logged(Callback):
    def __init__(self) -> None:
        self.in_use = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.in_use.append(float(trainer.callback_metrics["diffusion/imagination_in_use"]))


def sizes_of_updates(monkeypatch, verdicts, env_id="Hopper-v5", **settings):
    """Train for an iteration before, between and after verdicts; return the sizes of the batches of the policy."""
    sizes, update_player = [], RLModule.update_player

    def recording(self, name, player, batch, optimizers, **options):
        sizes.append(len(batch.weights))
        update_player(self, name, player, batch, optimizers, **options)

    monkeypatch.setattr(RLModule, "update_player", recording)
    data, logged = trajectories(env_id, iterations_per_epoch=1), Logged()
    module = adrrl(data, **{"max_replay_error": 0.5, **settings})
    fit(module, data, max_epochs=len(verdicts), callbacks=(Verdicts(*verdicts), logged))
    assert logged.in_use == [float(size > REAL) for size in sizes]
    return sizes


@pytest.mark.mujoco
@pytest.mark.filterwarnings("ignore:The world model is")
def test_imagined_data_are_used_only_while_the_newest_diagnosis_finds_the_model_good(monkeypatch):
    sizes = sizes_of_updates(monkeypatch, [FOUND_BAD, FOUND_GOOD, FOUND_BAD, FOUND_GOOD, FOUND_GOOD])
    assert sizes == [REAL, REAL, REAL + IMAGINED, REAL, REAL + IMAGINED]


def test_agreement_is_a_running_mean_that_forgets():
    module, means = adrrl(trajectories(), shorten_steps=True), []
    for cosine in (0.1, 0.7, 0.1, 0.1, 0.0, 0.5):
        module.judge_imagination(FOUND_GOOD | {"model/gradient_agreement": cosine})
        means.append(float(module.trust.gradient_agreement))
    assert means == pytest.approx([0.1, 0.4, 0.3, 0.25, 0.2, 0.26])
    module.judge_imagination(FOUND_GOOD)  # nothing was left to compare
    assert float(module.trust.gradient_agreement) == pytest.approx(0.8 * 0.26)


@pytest.mark.mujoco
def test_a_good_diagnosis_does_not_end_the_warm_up(monkeypatch):
    sizes = sizes_of_updates(monkeypatch, [FOUND_GOOD] * 4, warmup=3 * REAL)
    assert sizes == [REAL, REAL, REAL + IMAGINED, REAL + IMAGINED]


@pytest.mark.mujoco
def test_without_a_bound_a_diagnosis_decides_nothing(monkeypatch):
    assert sizes_of_updates(monkeypatch, [FOUND_BAD] * 2, max_replay_error=None) == [REAL + IMAGINED] * 2


@pytest.mark.mujoco
@pytest.mark.filterwarnings("ignore:The world model is")
def test_an_error_that_is_not_a_number_is_not_good_enough(monkeypatch):
    unknown = {"model/replay_error": math.nan, "model/persistence_error": 2.0}
    assert sizes_of_updates(monkeypatch, [FOUND_GOOD, unknown, FOUND_GOOD]) == [REAL, REAL + IMAGINED, REAL]


def test_worlds_that_cannot_be_replayed_have_the_warm_up_alone(monkeypatch):
    verdicts = [{"guidance/return_shift": 0.0}] * 3
    sizes = sizes_of_updates(monkeypatch, verdicts, env_id="toy/PointMass-v0", warmup=2 * REAL)
    assert sizes == [REAL, REAL + IMAGINED, REAL + IMAGINED]


@pytest.mark.mujoco
@pytest.mark.filterwarnings("ignore:The world model is")
def test_the_models_learn_while_they_are_not_used():
    data = trajectories("Hopper-v5", iterations_per_epoch=1)
    module = adrrl(data, max_replay_error=0.5)
    before = snapshot(module)
    fit(module, data, callbacks=(Verdicts(FOUND_BAD),))
    assert "world_model.models.denoiser.network.output.weight" in changed(module, before)


def test_there_is_one_warning_a_change(recwarn):
    module = adrrl(trajectories(), max_replay_error=0.5)
    counts = []
    for found in (FOUND_GOOD, FOUND_GOOD, FOUND_BAD, FOUND_BAD, FOUND_GOOD, FOUND_GOOD):
        module.judge_imagination(found)
        counts.append(len(recwarn))
    assert counts == [0, 0, 1, 1, 2, 2]
    off, on = (str(warning.message) for warning in recwarn)
    assert off.startswith("The world model is too bad: real data alone are used. Its replay error is 0.55 of")
    assert on.startswith("The world model is good enough again: imagined data are used. Its replay error is 0.45 of")


def test_a_model_that_is_bad_from_the_start_is_warned_about():
    with pytest.warns(UserWarning, match="The world model is too bad"):
        adrrl(trajectories(), max_replay_error=0.5).judge_imagination(FOUND_BAD)


def test_the_verdict_is_part_of_the_state():
    source, restored, fresh = (adrrl(trajectories(), max_replay_error=0.5, shorten_steps=True) for _ in range(3))
    source.judge_imagination(AGREES)
    restored.load_state_dict(source.state_dict())
    assert restored.trust.holds()
    assert restored.trust.kl_scale() == pytest.approx(0.64)
    assert not fresh.trust.holds()
    assert fresh.trust.kl_scale() == 0.0
    assert torch.equal(restored.trust.replay_error_ratio, torch.tensor(0.45))


def test_without_a_bound_the_state_is_what_it_was_before_there_were_bounds():
    assert not any(key.startswith("trust") for key in adrrl(trajectories()).state_dict())


@pytest.mark.parametrize("setting", [{"max_replay_error": 0.5}, {"shorten_steps": True}])
def test_what_nobody_measures_is_refused(setting):
    data, (name,) = trajectories(), setting
    with pytest.raises(ValueError, match=rf"`imagination\.{name}` needs the callback ImaginationDiagnostics"):
        fit(adrrl(data, **setting), data)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan])
def test_bounds_that_nothing_can_keep_are_refused(bound):
    with pytest.raises(ValueError, match="`max_replay_error` must be positive"):
        Imagination(max_replay_error=bound)


def bounds_of_steps(monkeypatch, verdicts, env_id="Hopper-v5", **settings):
    """Train for an iteration of two policy updates after each verdict; return the bounds of their trust regions."""
    bounds = recorded_bounds(monkeypatch)
    data = trajectories(env_id, iterations_per_epoch=1, policy_updates=2)
    module = adrrl(data, shorten_steps=True, max_kl=0.01, **settings)
    for verdict in verdicts:
        module.judge_imagination(verdict)
        fit(module, data, max_epochs=1, callbacks=(Verdicts({}),))
    return pytest.approx(bounds)


@pytest.mark.mujoco
def test_steps_on_imagined_data_alone_have_the_bound_times_the_square_of_the_agreement(monkeypatch):
    assert bounds_of_steps(monkeypatch, [AGREES]) == [0.01, 0.0064]


@pytest.mark.mujoco
@pytest.mark.parametrize("cosine", [0.0, -0.5])
def test_gradients_that_do_not_agree_allow_no_step(cosine, monkeypatch):
    assert bounds_of_steps(monkeypatch, [FOUND_GOOD | {"model/gradient_agreement": cosine}]) == [0.01]


@pytest.mark.mujoco
def test_a_shortened_step_keeps_its_bound():
    data = trajectories("Hopper-v5", iterations_per_epoch=1, policy_updates=2)
    module = adrrl(data, shorten_steps=True, max_kl=0.01)
    module.judge_imagination(AGREES)
    logged = fit(module, data, callbacks=(Verdicts({}),)).callback_metrics
    assert 0.0 < logged["protagonist/kl_divergence"] <= 3 * 0.0064  # three dimensions
    assert logged["diffusion/kl_scale"] == pytest.approx(0.64)


def test_worlds_that_cannot_be_replayed_shorten_nothing(monkeypatch):
    assert bounds_of_steps(monkeypatch, [FOUND_GOOD], env_id="toy/PointMass-v0") == [0.01, 0.01]


@pytest.mark.parametrize("cosine", [0.2, 0.5, 0.9])
def test_the_shortened_step_gains_most(cosine):
    """In a quadratic model of the return, of all steps in a direction at this angle to the gradient."""
    module = adrrl(trajectories(), shorten_steps=True)
    module.judge_imagination(FOUND_GOOD | {"model/gradient_agreement": cosine})
    direction = torch.tensor([cosine, math.sqrt(1.0 - cosine**2)])
    steps = torch.linspace(0.0, 1.0, 1001)
    parameters = steps[:, None] * direction  # a step of length 1 along the gradient is the best of all
    gains = parameters @ torch.tensor([1.0, 0.0]) - 0.5 * parameters.square().sum(dim=1)
    assert module.trust.kl_scale() == pytest.approx(float(steps[gains.argmax()]) ** 2, abs=2e-3)


def test_a2c_has_no_trust_region_to_shorten():
    with pytest.raises(ValueError, match=r"`imagination\.shorten_steps` must be false where `policy_update` is A2C"):
        adrrl(trajectories(), shorten_steps=True, policy_update=A2C(), spread_from_imagination=True)
