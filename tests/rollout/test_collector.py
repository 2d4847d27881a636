"""The collector: aligned transitions, honest episode ends, reproducible streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorWrapper
from torch import nn

import tests.environments  # noqa: F401  (registers the toys)
from rrl.envs import Pushes, make_vec_env
from rrl.rollout import RolloutCollector
from rrl.rollout.collector import EnvironmentFaultError
from rrl.types import Attack


class Follower:
    """Acts on every world by its own observation and noise alone."""

    def act(self, observations, noise):
        return 0.3 * noise - 0.5 * observations[:, :1]


class Recorder(VectorWrapper):
    """Remembers what the environments were told to do."""

    def __init__(self, env) -> None:
        super().__init__(env)
        self.received = []

    def step(self, actions):
        self.received.append(actions.copy())
        return super().step(actions)


def collector(env_id: str = "toy/Counter-v0", num_envs: int = 2, *, first_world: int = 0, **settings):
    envs = make_vec_env(env_id, num_envs, seed=3, first_world=first_world, **settings)
    return RolloutCollector(envs, seed=3, first_world=first_world)


def assert_equal(first, second):
    for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations"):
        assert torch.equal(getattr(first.transitions, name), getattr(second.transitions, name)), name


def test_every_transition_is_aligned():
    batch = collector().collect(Follower(), 12).transitions
    expected = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]).repeat(3)[:12].unsqueeze(1).expand(-1, 2)
    assert torch.equal(batch.observations.squeeze(-1), expected)
    assert torch.equal(batch.next_observations, batch.observations + 1.0)
    assert torch.equal(batch.rewards, 10.0 * expected)
    assert torch.equal(batch.terminated, expected == 4.0)
    assert not batch.truncated.any()


def test_resets_add_no_transitions():
    batch = collector().collect(Follower(), 12).transitions
    running = ~batch.ended[:-1]
    assert torch.equal(batch.next_observations[:-1][running], batch.observations[1:][running])
    assert (batch.observations[1:][~running] == 0.0).all()


def test_time_limits_are_no_terminations_and_keep_what_followed():
    batch = collector("toy/CounterLimit-v0").collect(Follower(), 7).transitions
    assert not batch.terminated.any()
    assert batch.truncated[:, 0].tolist() == [False, False, True, False, False, True, False]
    assert batch.next_observations[:, 0, 0].tolist() == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]


def test_a_step_that_terminates_at_the_time_limit_is_a_termination():
    batch = collector(max_episode_steps=5).collect(Follower(), 5).transitions
    assert batch.terminated[-1].all()
    assert not batch.truncated.any()


def test_episodes_continue_in_the_next_rollout():
    source = collector()
    first, second = source.collect(Follower(), 3), source.collect(Follower(), 3)
    assert second.transitions.observations[:, 0, 0].tolist() == [3.0, 4.0, 0.0]
    assert len(first.episodes.returns) == 0
    assert second.episodes.returns.tolist() == [100.0, 100.0]
    assert second.episodes.lengths.tolist() == [5, 5]
    assert second.episodes.failed.tolist() == [True, True]


def test_time_limits_are_no_failures():
    episodes = collector("toy/CounterLimit-v0", 1).collect(Follower(), 3).episodes
    assert episodes.lengths.tolist() == [3]
    assert episodes.failed.tolist() == [False]


def test_same_seed_gives_the_same_rollout():
    assert_equal(*(collector("toy/PointMass-v0").collect(Follower(), 20) for _ in range(2)))


def test_worlds_do_not_depend_on_how_they_are_split():
    whole = collector("toy/PointMass-v0", 4).collect(Follower(), 60).transitions
    parts = [collector("toy/PointMass-v0", 2, first_world=w).collect(Follower(), 60).transitions for w in (0, 2)]
    assert torch.equal(whole.observations, torch.cat([part.observations for part in parts], dim=1))
    assert torch.equal(whole.actions, torch.cat([part.actions for part in parts], dim=1))


def test_worlds_differ():
    actions = collector("toy/PointMass-v0", 3).collect(Follower(), 5).transitions.actions
    assert len(actions[0, :, 0].unique()) == 3


@pytest.mark.mujoco
def test_the_action_noise_is_not_that_of_the_pushes():
    source = collector("Hopper-v5", 1, pushes=Pushes(force_std=1.0, redraw_probability=0.1))
    noise, push = source.streams[0].bit_generator.state, source.envs.state_dict()["pushes"]["streams"][0]
    assert noise["state"]["inc"] != push["state"]["inc"]


def test_rollouts_have_no_graph():
    class Learner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Linear(1, 1)

        def act(self, observations, noise):
            return self.mean(observations) + noise

    batch = collector().collect(Learner(), 4).transitions
    assert not any(tensor.requires_grad for tensor in vars(batch).values())


def test_actions_are_clipped_for_the_environment_alone():
    source = collector("toy/PointMass-v0")
    source.envs = Recorder(source.envs)

    class Loud:
        def act(self, observations, noise):
            return 5.0 * noise

    actions = source.collect(Loud(), 20).transitions.actions
    assert actions.abs().max() > 1.0
    np.testing.assert_array_equal(np.stack(source.envs.received), actions.clamp(-1.0, 1.0).numpy())


@pytest.mark.mujoco
def test_a_restored_collector_continues_identically():
    source, restored = (collector("InvertedPendulum-v5") for _ in range(2))
    source.collect(Follower(), 30)
    restored.load_state_dict(source.state_dict())
    restored.envs.load_state_dict(source.envs.state_dict())
    first, second = (item.collect(Follower(), 30) for item in (source, restored))
    assert_equal(first, second)
    assert torch.equal(first.episodes.returns, second.episodes.returns)
    assert torch.equal(first.simulator_states, second.simulator_states)


@pytest.mark.mujoco
def test_simulator_states_are_those_in_which_the_actions_were_chosen():
    source = collector("InvertedPendulum-v5", 1)
    rollout = source.collect(Follower(), 5)
    # This task observes its whole state.
    torch.testing.assert_close(rollout.simulator_states.float(), rollout.transitions.observations)


def test_what_cannot_be_collected_is_refused():
    class Diverged:
        def act(self, observations, noise):
            return torch.nan * noise

    with pytest.raises(FloatingPointError, match="the actor chose actions that are not finite"):
        collector().collect(Diverged(), 2)
    with pytest.raises(ValueError, match="`num_steps` must be at least 1, got 0"):
        collector().collect(Follower(), 0)
    with pytest.raises(ValueError, match="the saved state has 3 worlds, this run has 2"):
        collector().load_state_dict(collector(num_envs=3).state_dict())


@pytest.mark.mujoco
def test_episodes_that_an_unstable_simulation_ended_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log where a simulation becomes unstable

    class Still:
        def act(self, observations, noise):
            return 0.0 * noise

        def attack(self, observations, noise, uniforms, starts):
            is_open = torch.tensor([False, True])
            return Attack(torch.ones_like(noise), is_open, is_open, uniforms)

    episodes = collector("rrl/HopperAdv-v1", force_limit=1e14).collect(Still(), 1, Still()).episodes
    assert episodes.unstable.tolist() == [True]
    assert episodes.failed.tolist() == [True]


class Broken(VectorWrapper):
    """Returns something else in the third step of its second world."""

    def __init__(self, env, quantity: str, value: float) -> None:
        super().__init__(env)
        self.quantity, self.value, self.count = quantity, value, 0

    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        self.count += 1
        if self.count == 3:
            (observations if self.quantity == "observation" else rewards)[1] = self.value
        return observations, rewards, *rest


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e13, 1e300])
@pytest.mark.parametrize("quantity", ["observation", "reward"])
def test_what_the_environment_did_wrong_is_said_of_the_environment(quantity, value):
    envs = Broken(make_vec_env("toy/Counter-v0", 2, seed=3), quantity, value)
    with pytest.raises(EnvironmentFaultError) as fault:
        RolloutCollector(envs, seed=3, first_world=4).collect(Follower(), 5)
    # An observation is met in the step after.
    step = 3 if quantity == "reward" else 4
    assert str(fault.value).startswith(f"the environment returned the {quantity} ")
    assert f"in step {step} of the rollout in world 5: it must be a number below 1e+12." in str(fault.value)
