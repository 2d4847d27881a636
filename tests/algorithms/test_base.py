"""What every algorithm inherits: the update of a player, counters, exact resume, and how a run may die."""

from __future__ import annotations

import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.loggers.logger import DummyLogger

from rrl.a2c import A2C
from rrl.algorithms import RCRARL, TRPO
from rrl.checkpoints import BestAndLastCheckpoint, RunState, read_checkpoint
from rrl.configuration import from_plain
from rrl.data import RolloutDataModule, TrajectoryDataModule
from rrl.diffusion import Score
from rrl.envs import Pushes
from rrl.risk import ForceControl, Gate, HorizonLabels, Restarts, Shaping
from tests.fitting import adrrl, fit, rcadrrl, rollouts, trajectories, trpo
from tests.games import game

DISTURBED = {"pushes": Pushes(force_std=2.0, redraw_probability=0.5), "physics": {"mass": (0.5, 1.5)}}


def test_real_steps_are_counted():
    data = rollouts()
    module = trpo(data)
    fit(module, data, max_epochs=2)
    assert module.env_steps == 2 * 2 * 16 * 2


def test_every_iteration_logs_its_keys():
    data = rollouts("toy/Counter-v0")
    logged = fit(trpo(data), data).callback_metrics
    assert logged["rollout/episode_return_mean"] == 100.0
    assert logged["rollout/episode_length_mean"] == 5.0
    assert logged["rollout/failure_rate"] == 1.0
    assert logged["rollout/num_unstable"] == 0.0
    assert logged["time/env_steps"] == 64.0
    player = {"surrogate", "kl_divergence", "step_fraction", "line_search_accepted", "entropy", "value_loss"}
    assert {f"protagonist/{name}" for name in player | {"explained_variance"}} < logged.keys()
    assert 0.0 < logged["time/collect_share"] + logged["time/update_share"] < 1.0


class Memory(DummyLogger):
    """Keeps the metrics of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, float]] = []

    def log_metrics(self, metrics, step=None):
        self.calls.append(dict(metrics))


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_the_loggers_hear_of_an_iteration_once_and_exactly(monkeypatch):
    monkeypatch.setattr("lightning.Trainer.loggers", property(lambda trainer: [memory], lambda trainer, _: None))
    memory, data = Memory(), rollouts()
    module = trpo(data)
    module.env_steps += 2**24 + 1  # beyond what float32 can count
    fit(module, data)
    assert [call["time/env_steps"] for call in memory.calls] == [2**24 + 1 + 32, 2**24 + 1 + 64]
    assert all("protagonist/entropy" in call for call in memory.calls)


class Poisoned(RolloutDataModule):
    """Delivers rewards that are not a number in the third rollout."""

    def collect(self):
        rollout = super().collect()
        if self.trainer.global_step == 2:
            rollout.transitions.rewards.fill_(torch.nan)
        return rollout


def test_what_is_not_a_number_stops_the_run_and_names_player_and_update():
    data = Poisoned("toy/PointMass-v0", num_envs=2, num_steps=8, iterations_per_epoch=5)
    with pytest.raises(FloatingPointError, match="the protagonist diverged in policy update 2: the policy gradient"):
        fit(trpo(data), data)


def test_a_value_loss_that_is_not_a_number_stops_the_run():
    data = rollouts()
    module = trpo(data, value_learning_rate=1e30, value_epochs=5)
    with pytest.raises(FloatingPointError, match=r"the protagonist diverged in policy update \d: the value loss"):
        fit(module, data, max_epochs=5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"gamma": 1.5}, r"`gamma` must lie in \[0, 1\], got 1.5"),
        ({"gae_lambda": -0.1}, r"`gae_lambda` must lie in \[0, 1\], got -0.1"),
        ({"max_kl": 0.0}, "`max_kl` must be positive, got 0.0"),
        ({"value_learning_rate": 0.0}, "`value_learning_rate` must be positive, got 0.0"),
        ({"activation": "relu"}, "`activation` must be one of"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        trpo(rollouts(), **setting)


def choosable(env_id: str, **settings) -> TrajectoryDataModule:
    return trajectories(env_id, start_candidates=3, **settings)


def pushed(env_id: str, **settings) -> RolloutDataModule:
    return rollouts("rrl/Hopper6Adv-v1", **settings)


def restarting(data: RolloutDataModule) -> RCRARL:
    seed_everything(0, verbose=False)
    settings = {"labels": HorizonLabels(horizon_steps=5), "gate": Gate(min_open_steps=1), "hidden_sizes": [8]}
    # The last iteration before the interruption is one of the protagonist, whose choice no world knows yet.
    settings |= {"restarts": Restarts(share=0.7), "shaping": Shaping(), "force_control": ForceControl()}
    return game(RCRARL, data, **settings, protagonist_updates=2)


def assert_same(first, second, where="checkpoint"):
    """Compare nested plain types and tensors to the bit."""
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    elif isinstance(first, torch.Tensor):
        torch.testing.assert_close(first, second, rtol=0.0, atol=0.0, equal_nan=True, msg=where)
    else:
        assert first == second, where


@pytest.mark.mujoco
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists:UserWarning")
@pytest.mark.parametrize(
    ("make_data", "make_module"),
    [
        (rollouts, trpo),
        (trajectories, adrrl),
        (choosable, rcadrrl),
        (
            trajectories,
            lambda data: adrrl(data, policy_guidance=Score(), policy_update=A2C(), spread_from_imagination=True),
        ),
        (pushed, restarting),
    ],
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(make_data, make_module, tmp_path):
    def run(name, max_epochs, ckpt_path=None):
        data = make_data("Hopper-v5", **DISTURBED)
        keep = BestAndLastCheckpoint(monitor="time/env_steps", dirpath=str(tmp_path / name))
        fit(make_module(data), data, max_epochs=max_epochs, callbacks=(RunState(), keep), ckpt_path=ckpt_path)
        return tmp_path / name / "last.ckpt"

    whole = read_checkpoint(run("whole", 4))
    resumed = read_checkpoint(run("parts", 4, run("parts", 2)))
    data_key = make_data.__annotations__["return"]
    assert {"collector", "envs"} <= whole[data_key]["ranks"][0].keys()
    for key in ("state_dict", "optimizer_states", "global_step", "epoch", data_key):
        assert_same(whole[key], resumed[key], key)
    assert_same(whole["callbacks"]["RunState"], resumed["callbacks"]["RunState"])


def test_settings_are_kept_in_the_checkpoint():
    data = rollouts()
    module = trpo(data, gamma=0.9)
    again = TRPO(**from_plain(dict(module.hparams)))
    assert again.learner.gamma == 0.9
    assert again.policy_update == module.policy_update
    assert vars(again.spaces) == vars(data.spaces)
