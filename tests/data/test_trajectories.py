"""What a Dyna loop is given each iteration."""

from __future__ import annotations

import pytest
import torch
from lightning import Callback

from tests.fitting import adrrl, fit, trajectories


class Batches(Callback):
    """Keeps what the algorithm was given, and how full the buffer was."""

    def __init__(self) -> None:
        self.seen, self.stored = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch)
        self.stored.append(trainer.datamodule.buffer.num_transitions)


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
    assert batch.windows.observations.shape == (16, 4, 1)
    assert batch.fresh_windows.observations.shape == (8, 4, 1)
    assert batch.start_observations.shape == (2, 16, 1)


def test_fresh_windows_are_of_the_fresh_rollout_alone(given):
    for iteration, batch in enumerate(given.seen):
        steps = batch.fresh_windows.observations
        assert steps.min() >= 16 * iteration
        assert steps.max() <= 16 * (iteration + 1)


def test_windows_are_of_all_experience(given):
    assert given.stored == [32, 64, 96]
    assert given.seen[2].windows.observations.min() < 32.0
    assert given.seen[2].windows.observations.max() > 32.0


def test_imagination_starts_at_recent_states(given):
    assert given.seen[2].start_observations.min() >= 16.0  # the newest 64 transitions are 32 steps of both worlds


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


@pytest.mark.parametrize(
    "name", ["model_updates", "model_batch_size", "imagined_trajectories", "policy_updates", "recent_starts"]
)
def test_bad_sizes_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        trajectories(**{name: 0})


def test_a_horizon_that_fits_nowhere_is_refused():
    with pytest.raises(ValueError, match="`num_steps` must be at least the horizon 4, got 3"):
        trajectories(num_steps=3)
    with pytest.raises(ValueError, match="`capacity` must hold a window"):
        trajectories(buffer_size=6)
