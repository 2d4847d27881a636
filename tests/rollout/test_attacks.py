"""What disturbs a rollout is recorded as it happened, and leaves the protagonist's draws alone."""

import numpy as np
import pytest
import torch

from rrl.algorithms.adversaries import WeakenedAdversary
from rrl.data import RolloutDataModule
from rrl.envs import make_vec_env
from rrl.rollout import RolloutCollector
from rrl.types import Attack
from tests.rollout.test_collector import Follower, Recorder, assert_equal


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
def test_a_weakened_adversary_pushes_with_a_share_of_the_limit(monkeypatch):
    source, forces = collector(), []
    step = source.envs.step
    monkeypatch.setattr(source.envs, "step", lambda actions, force: forces.append(force) or step(actions, force))
    attack = source.collect(Protagonist(), 20, WeakenedAdversary(Pusher(), 0.25)).attack
    assert attack.actions.abs().max() > 1.0
    assert attack.executed.abs().max() == 0.25
    np.testing.assert_allclose(np.stack(forces)[:, :, 0, [0, 2]], 5.0 * attack.executed.numpy(), rtol=1e-6)


@pytest.mark.mujoco
def test_an_adversary_leaves_the_protagonists_noise_alone():
    attacked, free = collector().collect(Protagonist(), 20, Pusher()), collector().collect(Protagonist(), 20)
    assert torch.equal(attacked.transitions.actions, free.transitions.actions)
    assert free.attack is None


@pytest.mark.mujoco
def test_episodes_are_numbered_through_and_starts_are_told():
    source, pusher = collector(), Pusher()
    first, second = source.collect(Protagonist(), 60, pusher), source.collect(Protagonist(), 60, pusher)
    numbers = torch.cat([first.episode_ids, second.episode_ids])
    ended = torch.cat([first.transitions.ended, second.transitions.ended])
    assert ended.any()
    assert torch.equal(numbers[1:] != numbers[:-1], ended[:-1])
    starts = torch.stack(pusher.starts)
    begins = ended[:-1].clone()
    begins[59] = True  # the second rollout
    assert torch.equal(starts[1:], begins)
    assert len(numbers.unique()) == 3 + ended[:-1].sum()


@pytest.mark.mujoco
def test_episodes_have_the_same_numbers_without_an_adversary():
    source = collector()
    numbers, ended = (
        torch.cat(parts)
        for parts in zip(
            *((part.episode_ids, part.transitions.ended) for part in (source.collect(Protagonist(), 60) for _ in "ab")),
            strict=True,
        )
    )
    assert ended.any()
    assert torch.equal(numbers[1:] != numbers[:-1], ended[:-1])
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
    expected = source.collect(Protagonist(), 10, Pusher())
    copy = collector()
    copy.envs.load_state_dict(worlds)
    copy.load_state_dict(state)
    resumed = copy.collect(Protagonist(), 10, Pusher())
    assert torch.equal(resumed.attack.executed, expected.attack.executed)
    assert torch.equal(resumed.episode_ids, expected.episode_ids)


def test_an_adversary_needs_worlds_that_it_can_push():
    source = RolloutCollector(make_vec_env("Pendulum-v1", 1), seed=0)
    with pytest.raises(ValueError, match="an adversary needs environments"):
        source.collect(Protagonist(), 1, Pusher())


def shaken(random_actions: float, num_envs: int = 4):
    envs = Recorder(make_vec_env("toy/PointMass-v0", num_envs, seed=3))
    return RolloutCollector(envs, seed=3, random_actions=random_actions)


def test_actions_are_replaced_with_the_probability_and_recorded_as_chosen():
    source = shaken(0.25)
    recorded = source.collect(Follower(), 1000).transitions.actions.numpy()
    received = np.stack(source.envs.received)
    replaced = np.abs(received - recorded.clip(-1.0, 1.0)) > 1e-6
    assert replaced.mean() == pytest.approx(0.25, abs=0.03)
    drawn = received[replaced]
    assert np.abs(drawn).max() <= 1.0
    # Mean and variance of a uniform draw from -1 to 1.
    assert drawn.mean() == pytest.approx(0.0, abs=0.08)
    assert drawn.var() == pytest.approx(1.0 / 3.0, abs=0.05)


def test_probability_zero_changes_nothing():
    plain = RolloutCollector(make_vec_env("toy/PointMass-v0", 4, seed=3), seed=3)
    assert_equal(shaken(0.0).collect(Follower(), 60), plain.collect(Follower(), 60))


def test_a_world_does_not_depend_on_how_many_there_are():
    few, many = shaken(0.25, 2).collect(Follower(), 40), shaken(0.25, 5).collect(Follower(), 40)
    assert torch.equal(few.transitions.observations, many.transitions.observations[:, :2])


@pytest.mark.mujoco
def test_a_checkpoint_continues_the_random_actions():
    def make():
        envs = make_vec_env("Hopper-v5", 2, seed=3)
        return RolloutCollector(envs, seed=3, random_actions=0.5)

    class Still:
        def act(self, observations, noise):
            return 0.3 * noise

    source, restored = make(), make()
    source.collect(Still(), 20)
    restored.load_state_dict(source.state_dict())
    restored.envs.load_state_dict(source.envs.state_dict())
    assert_equal(source.collect(Still(), 20), restored.collect(Still(), 20))


@pytest.mark.mujoco
def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`random_actions` must lie in \[0, 1\), got 1\.0"):
        RolloutDataModule("Hopper-v5", random_actions=1.0)
