"""Episodes that begin in given states: how often, in which, and that nothing else of an episode changes."""

import numpy as np
import pytest

from rrl.envs import MuJoCoVectorEnv, Pushes
from rrl.envs.restarts import Restarts

pytestmark = pytest.mark.mujoco

STATES = np.array([[0.1, 0.02, 0.0, 0.0, 0.0, 0.0], [-0.1, -0.02, 0.0, 0.0, 0.0, 0.0]])


def pendulums(**options) -> MuJoCoVectorEnv:
    options = {"max_episode_steps": 3, "env_kwargs": {"reset_noise_scale": 0.0}, "seed": 3, **options}
    return MuJoCoVectorEnv("rrl/InvertedDoublePendulumAdv-v1", options.pop("num_envs", 4), **options)


def run(envs: MuJoCoVectorEnv, steps: int) -> np.ndarray:
    """Return the states in which the steps began. Shape ``[T, N, S]``."""
    states = []
    for _ in range(steps):
        states.append(envs.simulator_states())
        envs.step(np.zeros((envs.num_envs, 1)))
    return np.stack(states)


def test_a_share_of_the_draws_takes_states_by_their_weights():
    restarts = Restarts([np.random.default_rng(0)])
    restarts.set(np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 0.0, 3.0]), 0.5)
    drawn = [restarts.draw(0) for _ in range(4000)]
    values = np.array([state[0] for state in drawn if state is not None])
    assert len(values) / len(drawn) == pytest.approx(0.5, abs=0.03)
    assert set(values) == {1.0, 3.0}
    assert (values == 3.0).mean() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(("weights", "share"), [([0.0, 0.0], 1.0), ([1.0, 1.0], 0.0)])
def test_without_weight_or_share_episodes_are_the_tasks_own_bit_for_bit(weights, share):
    own, given = pendulums(env_kwargs={}), pendulums(env_kwargs={})
    for envs in (own, given):
        envs.reset()
    given.restart_in(STATES, np.array(weights), share)
    assert np.array_equal(run(own, 8), run(given, 8))


def test_episodes_begin_in_the_states_and_running_ones_go_on():
    envs = pendulums()
    envs.reset()
    before = run(envs, 1)
    envs.restart_in(STATES, np.array([1.0, 0.0]), 1.0)
    states = run(envs, 3)
    assert (before[0] == 0.0).all()
    assert not (states[1] == STATES[0]).all()  # the third step of the first episodes
    assert (states[2] == STATES[0]).all()


def test_the_end_of_an_episode_is_not_the_state_in_which_the_next_one_begins():
    envs = pendulums(max_episode_steps=1)
    envs.reset()
    envs.restart_in(STATES, np.array([1.0, 0.0]), 1.0)
    observations, *_, infos = envs.step(np.zeros((4, 1)))
    assert np.allclose(observations[:, 0], 0.1)
    assert np.allclose(infos["final_obs"][:, 0], 0.0, atol=1e-4)


def test_the_time_limit_is_that_of_every_episode():
    envs = pendulums()
    envs.reset()
    envs.restart_in(STATES, np.ones(2), 1.0)
    ends = [envs.step(np.zeros((4, 1)))[3].all() for _ in range(9)]
    assert ends == [False, False, True] * 3


def test_the_other_episodes_physics_and_pushes_stay_what_they_were():
    options = {"num_envs": 12, "physics": {"mass": (0.5, 1.5)}, "pushes": Pushes(1.0, 0.5), "env_kwargs": {}}
    own, given = pendulums(**options), pendulums(**options)
    for envs in (own, given):
        envs.reset()
    given.restart_in(STATES, np.ones(2), 0.5)
    mine, theirs = run(own, 4)[-1], run(given, 4)[-1]
    same = (mine == theirs).all(axis=1)
    assert same.any()
    assert not same.all()
    assert all(np.array_equal(own.physics[name], given.physics[name]) for name in own.physics)


def test_saved_restarts_resume_bit_for_bit_and_do_not_depend_on_how_worlds_are_split():
    envs, resumed = pendulums(env_kwargs={}), pendulums(env_kwargs={})
    envs.reset()
    envs.restart_in(STATES, np.ones(2), 0.5)
    run(envs, 4)
    resumed.load_state_dict(envs.state_dict())
    expected = run(envs, 7)
    assert np.array_equal(expected, run(resumed, 7))
    halves = [pendulums(num_envs=2, first_world=first, env_kwargs={}) for first in (0, 2)]
    for half in halves:
        half.reset()
        half.restart_in(STATES, np.ones(2), 0.5)
    assert np.array_equal(np.concatenate([run(half, 11) for half in halves], axis=1)[4:], expected)


def test_states_of_another_task_weights_and_shares_that_are_none_are_named():
    envs = pendulums()
    with pytest.raises(ValueError, match=r"`states` must have shape \[2, 6\], got \[2, 3\]"):
        envs.restart_in(STATES[:, :3], np.ones(2), 0.5)
    with pytest.raises(ValueError, match="`weights` must be finite and not negative"):
        envs.restart_in(STATES, np.array([1.0, -1.0]), 0.5)
    with pytest.raises(ValueError, match=r"`share` must lie in \[0, 1\], got 1.5"):
        envs.restart_in(STATES, np.ones(2), 1.5)
