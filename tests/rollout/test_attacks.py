"""The adversary's side of a rollout is recorded as it happened, and leaves the protagonist's draws alone."""

import numpy as np
import pytest
import torch

from rrl.envs import make_vec_env
from rrl.rollout import RolloutCollector
from rrl.types import Attack


class Protagonist:
    def act(self, observations, noise):
        return 0.1 * noise


class Pusher:
    """Open in half of the states; remembers what it was told."""

    def __init__(self) -> None:
        self.starts: list[torch.Tensor] = []

    def attack(self, observations, noise, uniforms, starts):
        self.starts.append(starts)
        return Attack(2.0 * noise, uniforms >= 0.5, uniforms >= 0.9, uniforms)


def collector() -> RolloutCollector:
    return RolloutCollector(make_vec_env("rrl/HopperAdv-v1", 3, seed=1), seed=1)


@pytest.mark.mujoco
def test_forces_are_scaled_and_gated_on_their_way_to_the_worlds(monkeypatch):
    source, forces = collector(), []
    step = source.envs.step
    monkeypatch.setattr(source.envs, "step", lambda actions, force: forces.append(force) or step(actions, force))
    attack = source.collect(Protagonist(), 20, Pusher()).attack
    np.testing.assert_allclose(np.stack(forces)[:, :, 0, [0, 2]], 5.0 * attack.executed.numpy(), rtol=1e-6)
    assert not attack.executed[~attack.is_open].any()
    assert 0 < attack.is_open.float().mean() < 1


@pytest.mark.mujoco
def test_an_adversary_leaves_the_protagonists_noise_alone():
    attacked, free = collector().collect(Protagonist(), 20, Pusher()), collector().collect(Protagonist(), 20)
    assert torch.equal(attacked.transitions.actions, free.transitions.actions)
    assert free.attack is None


@pytest.mark.mujoco
def test_episodes_are_numbered_through_and_starts_are_told():
    source, pusher = collector(), Pusher()
    first, second = source.collect(Protagonist(), 60, pusher), source.collect(Protagonist(), 60, pusher)
    numbers = torch.cat([first.attack.episodes, second.attack.episodes])
    ended = torch.cat([first.transitions.ended, second.transitions.ended])
    assert ended.any()
    assert torch.equal(numbers[1:] != numbers[:-1], ended[:-1])
    starts = torch.stack(pusher.starts)
    begins = ended[:-1].clone()
    begins[59] = True  # the second rollout
    assert torch.equal(starts[1:], begins)
    assert len(numbers.unique()) == 3 + ended[:-1].sum()


@pytest.mark.mujoco
def test_returns_from_before_the_rollout_are_known():
    source = collector()
    first, second = source.collect(Protagonist(), 5, Pusher()), source.collect(Protagonist(), 5, Pusher())
    torch.testing.assert_close(second.attack.previous_returns, first.transitions.rewards.sum(0))


@pytest.mark.mujoco
def test_a_saved_source_continues_exactly():
    source = collector()
    source.collect(Protagonist(), 10, Pusher())
    state, worlds = source.state_dict(), source.envs.state_dict()
    expected = source.collect(Protagonist(), 10, Pusher()).attack
    copy = collector()
    copy.envs.load_state_dict(worlds)
    copy.load_state_dict(state)
    resumed = copy.collect(Protagonist(), 10, Pusher()).attack
    assert torch.equal(resumed.executed, expected.executed)
    assert torch.equal(resumed.episodes, expected.episodes)


def test_an_adversary_needs_worlds_that_it_can_push():
    source = RolloutCollector(make_vec_env("Pendulum-v1", 1), seed=0)
    with pytest.raises(ValueError, match="an adversary needs environments"):
        source.collect(Protagonist(), 1, Pusher())
