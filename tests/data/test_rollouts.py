"""The stream of rollouts: always of the present policy, as long as an epoch, and gone when the run is."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from lightning import Callback

from rrl.data import RolloutDataModule
from rrl.envs import Pushes
from tests.environments import PointMass
from tests.fitting import fit, rollouts, trpo


class Stamped(RolloutDataModule):
    """Writes into the rewards how many policy updates had been made when the rollout was collected."""

    def collect(self):
        rollout = super().collect()
        rollout.transitions.rewards.fill_(float(self.trainer.global_step))
        return rollout


class Lag(Callback):
    """Measures how many policy updates lie between collecting a rollout and training on it."""

    def __init__(self) -> None:
        self.lags = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.lags.append(trainer.global_step - int(batch.transitions.rewards.mean()))


def test_rollouts_come_from_the_policy_that_is_updated_with_them():
    data, lag = Stamped("toy/PointMass-v0", num_envs=2, num_steps=8, iterations_per_epoch=3), Lag()
    fit(trpo(data), data, max_epochs=2, callbacks=(lag,))
    assert lag.lags == [0] * 6


def test_length_is_the_epoch():
    data = rollouts(iterations_per_epoch=3)
    trainer = fit(trpo(data), data, max_epochs=2)
    assert len(data.train_dataloader()) == 3
    assert trainer.global_step == 6


def test_worlds_are_closed_at_the_end():
    class Watch(Callback):
        def on_train_end(self, trainer, pl_module):
            self.envs = trainer.datamodule.collector.envs

    data, watch = rollouts(), Watch()
    fit(trpo(data), data, callbacks=(watch,))
    assert data.collector is None
    assert watch.envs.closed


def test_sizes_come_from_the_environment():
    spaces = rollouts("toy/PointMass-v0").spaces
    assert (spaces.obs_dim, spaces.action_dim, spaces.action_low, spaces.action_high) == (2, 1, [-1.0], [1.0])
    assert (spaces.healthy_low, spaces.healthy_high, spaces.adversary_dim, spaces.can_fail) == (None, None, 0, True)


@pytest.mark.mujoco
def test_bounds_of_a_running_episode_come_from_the_task():
    spaces = rollouts("InvertedPendulum-v5").spaces
    assert spaces.healthy_high[1] == pytest.approx(0.2)
    assert spaces.healthy_low[1] == pytest.approx(-0.2)


@pytest.mark.parametrize("env_id", ["rrl/HopperAdv-v1", "rrl/AntAdv-v1"])
def test_the_length_of_a_step_is_found_through_wrappers(env_id):
    assert rollouts(env_id).spaces.step_seconds == pytest.approx(
        {"rrl/HopperAdv-v1": 0.008, "rrl/AntAdv-v1": 0.05}[env_id]
    )


def streams(data):
    return [stream.bit_generator.state["state"]["state"] for stream in data.collector.streams]


@pytest.mark.filterwarnings("ignore:The run goes on in new episodes")
def test_a_resume_where_gymnasium_steps_goes_on_with_the_noise_in_new_episodes():
    source, restored, again = rollouts(), rollouts(), rollouts()
    module = trpo(source)
    for data in (source, restored, again):
        data.setup("fit")
    first = source.collector.observations.copy()
    source.collector.collect(module, 16)
    restored.load_state_dict(source.state_dict())
    assert streams(restored) == streams(source)
    assert not np.isin(restored.collector.observations, first).any()
    assert (restored.collector.lengths == 0).all()
    restored.collector.collect(module, 16)
    again.load_state_dict(restored.state_dict())
    assert not np.isin(again.collector.observations, restored.collector.observations).any()


def test_a_resume_that_is_not_exact_says_so():
    source, restored = rollouts(), rollouts()
    for data in (source, restored):
        data.setup("fit")
    with pytest.warns(UserWarning, match="new episodes of toy/PointMass-v0: .* not exactly the run"):
        restored.load_state_dict(source.state_dict())


def test_random_actions_need_a_bounded_box():
    gymnasium.register("toy/Boundless-v0", entry_point=Boundless, max_episode_steps=5)
    with pytest.raises(ValueError, match="`random_actions` need a bounded action box"):
        rollouts("toy/Boundless-v0", random_actions=0.1)


class Boundless(PointMass):
    """May be pushed with any force."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)


@pytest.mark.parametrize("name", ["num_envs", "num_steps", "iterations_per_epoch"])
def test_bad_sizes_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        rollouts(**{name: 0})


def test_what_the_worlds_cannot_do_is_refused_at_once():
    with pytest.raises(ValueError, match="`pushes` and `physics` need one of the tasks"):
        rollouts(pushes=Pushes(force_std=1.0, redraw_probability=0.1))
    with pytest.raises(ValueError, match="`env_id` must be a registered environment"):
        rollouts("toy/Nothing-v0")
    with pytest.raises(RuntimeError, match="rollouts need `setup"):
        rollouts().collect()


def test_worlds_of_another_number_of_processes_are_refused():
    data = rollouts()
    data.setup("fit")
    state = data.state_dict()
    with pytest.raises(ValueError, match="written by 2 processes, this run has 1"):
        data.load_state_dict({"ranks": state["ranks"] * 2})
    data.teardown("fit")


@pytest.mark.mujoco
def test_settings_are_kept_in_plain_types():
    data = rollouts("Hopper-v5", pushes=Pushes(force_std=2.0, redraw_probability=0.5), physics={"mass": (0.5, 1.5)})
    assert data.hparams["pushes"] == {"force_std": 2.0, "redraw_probability": 0.5}
    assert data.hparams["physics"] == {"mass": (0.5, 1.5)}
    assert data.hparams["env_id"] == "Hopper-v5"


@pytest.mark.mujoco
def test_restored_worlds_continue_identically():
    disturbances = {"pushes": Pushes(force_std=2.0, redraw_probability=0.5), "physics": {"mass": (0.5, 1.5)}}
    source, restored = (rollouts("Hopper-v5", **disturbances) for _ in range(2))
    module = trpo(source)
    for data in (source, restored):
        data.setup("fit")
    source.collector.collect(module, 40)
    restored.load_state_dict(source.state_dict())
    first, second = (data.collector.collect(module, 40) for data in (source, restored))
    assert torch.equal(first.transitions.next_observations, second.transitions.next_observations)
    assert torch.equal(first.episodes.returns, second.episodes.returns)
    for data in (source, restored):
        data.teardown("fit")


@pytest.mark.mujoco
def test_nominal_worlds_have_no_disturbances():
    data = rollouts("Hopper-v5", physics={"mass": (0.5, 0.6)}, max_episode_steps=7)
    nominal, like_training = data.make_envs(1, nominal=True), data.make_envs(1)
    nominal.reset()
    like_training.reset()
    assert nominal.physics == {}
    assert like_training.physics["mass"] < 0.61
