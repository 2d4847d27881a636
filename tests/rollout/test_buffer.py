"""The buffer: windows never join episodes, the ring forgets the oldest, starts carry their simulator state."""

import pytest
import torch

from rrl.rollout import TrajectoryBuffer
from rrl.types import EpisodeStatistics, Rollout, RolloutBatch

EMPTY = EpisodeStatistics(torch.zeros(0), *torch.zeros(3, 0, dtype=torch.long))


def rollout(
    first: int, num_steps: int, *, terminated: tuple[int, ...] = (), truncated: tuple[int, ...] = ()
) -> Rollout:
    """Steps ``first, first + 1, ...`` of two worlds, world 1 shifted by 1000; the observation is the label.

    The observation after an episode's last step is its label plus 0.5, which occurs nowhere else.
    """
    label = torch.arange(first, first + num_steps, dtype=torch.float32).unsqueeze(1) + torch.tensor([0.0, 1000.0])
    flags = [torch.zeros(num_steps, 2, dtype=torch.bool) for _ in range(2)]
    for flag, steps in zip(flags, (terminated, truncated), strict=True):
        for step in steps:
            flag[step - first] = True
    following = torch.where(flags[0] | flags[1], label + 0.5, label + 1.0)
    batch = RolloutBatch(
        label.unsqueeze(-1),
        3.0 * label.unsqueeze(-1),
        label,
        *flags,
        following.unsqueeze(-1),
        torch.ones_like(label),
        torch.ones_like(label),
    )
    return Rollout(batch, EMPTY, label.unsqueeze(-1).double(), torch.zeros(()), label.long())


def buffer(capacity: int = 40, horizon: int = 4) -> TrajectoryBuffer:
    bound = torch.tensor([1e6])
    generator = torch.Generator().manual_seed(0)
    return TrajectoryBuffer(capacity, 2, horizon, action_low=-bound, action_high=bound, generator=generator)


def test_windows_follow_one_world_in_time():
    store = buffer()
    store.add(rollout(0, 6))
    store.add(rollout(6, 6))
    windows = store.sample_windows(200)
    assert windows.valid.all()
    first = windows.observations[:, :1]
    torch.testing.assert_close(windows.observations, first + torch.arange(4.0).view(1, 4, 1))
    torch.testing.assert_close(windows.rewards.unsqueeze(-1), windows.observations)


def test_all_starts_are_drawn():
    store = buffer()
    store.add(rollout(0, 8))
    starts = store.sample_windows(500).observations[:, 0, 0].unique().tolist()
    assert starts == [0.0, 1.0, 2.0, 3.0, 4.0, 1000.0, 1001.0, 1002.0, 1003.0, 1004.0]


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_a_window_stops_at_an_episodes_end_and_keeps_its_final_observation(kind: str):
    store = buffer()
    store.add(rollout(0, 8, **{kind: (3,)}))
    windows = store.sample_windows(300)
    crossing = windows.observations[:, 0, 0] == 2.0
    assert crossing.any()
    assert windows.valid[crossing].unique(dim=0).tolist() == [[True, True, False, False]]
    assert windows.observations[crossing].unique(dim=0).squeeze(-1).tolist() == [[2.0, 3.0, 3.5, 3.5]]
    assert windows.rewards[crossing].unique(dim=0).tolist() == [[2.0, 3.0, 0.0, 0.0]]
    assert windows.terminated[crossing].any() == (kind == "terminated")


def test_actions_are_what_the_simulator_received():
    bound = torch.tensor([4.0])
    store = TrajectoryBuffer(40, 2, 4, action_low=-bound, action_high=bound, generator=torch.Generator())
    store.add(rollout(0, 8))
    assert store.sample_windows(50).actions.max() == 4.0


def test_the_ring_forgets_the_oldest_steps():
    store = buffer(capacity=20)
    for first in (0, 4, 8, 12):
        store.add(rollout(first, 4))
    assert store.size * store.num_envs == 20
    windows = store.sample_windows(500)
    assert windows.observations[:, 0, 0].fmod(1000.0).min() == 6.0
    torch.testing.assert_close(windows.observations, windows.observations[:, :1] + torch.arange(4.0).view(1, 4, 1))


def test_fresh_windows_come_from_the_newest_steps_alone():
    store = buffer()
    store.add(rollout(0, 8))
    store.add(rollout(8, 5))
    starts = store.sample_windows(200, newest_steps=5).observations[:, 0, 0].fmod(1000.0)
    assert starts.unique().tolist() == [8.0, 9.0]


def test_start_states_are_recent_and_belong_to_their_simulator_state():
    store = buffer()
    store.add(rollout(0, 12))
    starts = store.sample_starts(200, recent=6)
    assert starts.observations.fmod(1000.0).unique().tolist() == [9.0, 10.0, 11.0]
    torch.testing.assert_close(starts.observations.double(), starts.simulator_states)


def test_a_restored_buffer_draws_the_same_windows():
    store, restored = buffer(capacity=20), buffer(capacity=20)
    for first in (0, 4, 8, 12):
        store.add(rollout(first, 4))
    restored.load_state_dict(store.state_dict())
    assert torch.equal(store.sample_windows(50).observations, restored.sample_windows(50).observations)
    for item in (store, restored):
        item.add(rollout(16, 4))
    assert torch.equal(store.sample_windows(50).observations, restored.sample_windows(50).observations)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`capacity` must hold a window of 4 steps of 2 worlds, got 6"):
        buffer(capacity=6)
    with pytest.raises(ValueError, match="a window needs 4 stored steps of each world, got 0"):
        buffer().sample_windows(1)
    with pytest.raises(ValueError, match="at most 20 steps of 2 worlds, got 21"):
        buffer().add(rollout(0, 21))
    with pytest.raises(ValueError, match="`horizon` must be at least 2, got 1"):
        buffer(horizon=1)
    with pytest.raises(ValueError, match="the buffer is empty"):
        buffer().sample_starts(1, recent=5)
