"""What a Dyna loop is given each iteration."""

from __future__ import annotations

import pytest
import torch
from lightning import Callback

from rrl.data import TrajectoryDataModule
from tests.fitting import adrrl, fit, trajectories

RESUMED = pytest.mark.filterwarnings("ignore:The run goes on in new episodes")


class Batches(Callback):
    """Keeps what the algorithm was given, and how full the buffer was."""

    def __init__(self) -> None:
        self.seen, self.stored = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch)
        self.stored.append(trainer.datamodule.buffer.size * trainer.datamodule.buffer.num_envs)


@pytest.fixture(scope="module")
def given():
    """Three iterations; the counter's observations tell the steps apart."""
    data, batches = (
        trajectories("toy/Counter-v0", env_kwargs={"length": 1000}, iterations_per_epoch=3, policy_updates=2),
        Batches(),
    )
    fit(adrrl(data), data, callbacks=(batches,))
    return batches


def test_every_part_has_its_size(given):
    batch = given.seen[0]
    assert batch.rollout.transitions.rewards.shape == (16, 2)
    assert batch.windows.observations.shape == (2, 8, 4, 1)
    assert batch.fresh_windows.observations.shape == (8, 4, 1)
    assert batch.start_observations.shape == (2, 16, 1)


def test_fresh_windows_are_of_the_fresh_rollout_alone(given):
    for iteration, batch in enumerate(given.seen):
        steps = batch.fresh_windows.observations
        assert steps.min() >= 16 * iteration
        assert steps.max() <= 16 * (iteration + 1)


class Stamped(TrajectoryDataModule):
    """Writes into the rewards how many policy updates had been made when the rollout was collected."""

    def collect(self):
        rollout = super().collect()
        rollout.transitions.rewards.fill_(float(self.trainer.global_step))
        return rollout


class Stamps(Callback):
    """Notes how many policy updates had been made before each iteration, and the stamps of what it is given."""

    def __init__(self) -> None:
        self.updates, self.rollouts, self.fresh, self.replayed = [], [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.updates.append(trainer.global_step)
        self.rollouts.append(batch.rollout.transitions.rewards.unique().tolist())
        for stamps, windows in ((self.fresh, batch.fresh_windows), (self.replayed, batch.windows)):
            stamps.append(windows.rewards[windows.valid].unique().tolist())


def test_fresh_experience_comes_from_the_policy_that_is_updated_with_it():
    sizes = {"num_envs": 2, "num_steps": 8, "horizon": 4, "model_updates": 4, "model_batch_size": 8}
    data = Stamped(
        "toy/PointMass-v0", **sizes, imagined_trajectories=8, policy_updates=2, buffer_size=200, iterations_per_epoch=3
    )
    stamps = Stamps()
    fit(adrrl(data), data, max_epochs=2, callbacks=(stamps,))
    assert stamps.updates == [0, 2, 4, 6, 8, 10]
    newest = [[float(updates)] for updates in stamps.updates]
    assert stamps.rollouts == newest
    assert stamps.fresh == newest
    # Every rollout so far is replayed. With another seed 32 windows miss a given one of six rollouts once in 300 times.
    assert stamps.replayed[-1] == [float(updates) for updates in stamps.updates]


def test_windows_are_of_all_experience(given):
    assert given.stored == [32, 64, 96]
    assert given.seen[2].windows.observations.min() < 32.0
    assert given.seen[2].windows.observations.max() > 32.0


def test_imagination_starts_at_recent_states(given):
    assert given.seen[2].start_observations.min() >= 16.0  # the newest 64 transitions are 32 steps of both worlds


def test_candidates_are_further_recent_states():
    batches = Batches()
    data = trajectories("toy/Counter-v0", env_kwargs={"length": 1000}, start_candidates=3, policy_updates=2)
    fit(adrrl(data), data, max_epochs=2, callbacks=(batches,))
    starts, candidates = batches.seen[3].start_observations, batches.seen[3].candidate_starts
    assert candidates.shape == (2, 3 * 16, 1)
    assert candidates.min() >= 32.0  # 64 steps so far, of which the newest 64 transitions are 32 steps of both worlds
    assert not torch.equal(candidates[:, :16], starts)


def test_without_candidates_there_are_none(given):
    assert given.seen[0].candidate_starts is None


@RESUMED
def test_the_buffer_is_part_of_the_state_and_goes_with_the_worlds():
    source, restored = trajectories(), trajectories()
    module = adrrl(source)
    for data in (source, restored):
        data.setup("fit")
    source.buffer.add(source.collector.collect(module, 16))
    restored.load_state_dict(source.state_dict())
    first, second = (data.buffer.sample_windows(20) for data in (source, restored))
    assert torch.equal(first.observations, second.observations)
    for data in (source, restored):
        data.teardown("fit")
        assert data.buffer is None


@RESUMED
def test_no_window_joins_episodes_before_and_after_a_resume():
    source, restored = trajectories(), trajectories()
    module = adrrl(source)
    for data in (source, restored):
        data.setup("fit")
    source.buffer.add(source.collector.collect(module, 16))
    restored.load_state_dict(source.state_dict())
    restored.buffer.add(restored.collector.collect(module, 16))
    windows = restored.buffer.sample_windows(200)
    follows = torch.isclose(
        windows.observations[:, 1:, 0] - windows.observations[:, :-1, 0],
        0.2 * windows.observations[:, 1:, 1],
        atol=1e-5,
    )
    assert (~windows.valid).any()
    assert follows[windows.valid[:, :-1]].all()
    for data in (source, restored):
        data.teardown("fit")


@pytest.mark.parametrize(
    "name", ["model_updates", "model_batch_size", "imagined_trajectories", "policy_updates", "recent_starts"]
)
def test_bad_sizes_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        trajectories(**{name: 0})


def test_a_negative_number_of_candidates_is_refused():
    with pytest.raises(ValueError, match="`start_candidates` must be at least 0, got -1"):
        trajectories(start_candidates=-1)


def test_a_horizon_that_fits_nowhere_is_refused():
    with pytest.raises(ValueError, match="`num_steps` must be at least the horizon 4, got 3"):
        trajectories(num_steps=3)
    with pytest.raises(ValueError, match="`capacity` must hold a window"):
        trajectories(buffer_size=6)
