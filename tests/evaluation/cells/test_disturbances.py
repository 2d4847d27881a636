from __future__ import annotations

import numpy as np
import pytest

from rrl.envs import MuJoCoVectorEnv, Pushes
from rrl.envs.tasks import make_task
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.disturbances import Disturbances, EpisodeDraws
from rrl.rollout import RolloutCollector

DRAWS = EpisodeDraws(0, 2, num_steps=10, obs_dim=3, action_dim=2)
LOW, HIGH = np.array([-1.0, -2.0]), np.array([1.0, 2.0])


def disturb(*values: dict[str, float]) -> Disturbances:
    """One world for each condition, all in episode 1."""
    conditions = [Condition.of(each) for each in values]
    worlds = np.arange(len(conditions))
    disturbances = Disturbances(conditions, DRAWS, len(conditions), low=LOW, high=HIGH)
    disturbances.begin(worlds, worlds, np.ones(len(worlds), dtype=np.intp))
    return disturbances


def test_without_settings_nothing_is_disturbed():
    disturbances = disturb({})
    observations, actions = np.ones((1, 3)), np.ones((1, 2))
    np.testing.assert_array_equal(disturbances.observe(observations), observations)
    np.testing.assert_array_equal(disturbances.execute(actions), actions)
    assert disturbances.push() is None


def test_world_without_noise_beside_one_with_noise_sees_the_truth():
    disturbances = disturb({}, {"observation_noise": 0.5, "action_noise": 0.5})
    seen = disturbances.observe(np.ones((2, 3)))
    np.testing.assert_array_equal(seen[0], np.ones(3))
    np.testing.assert_array_equal(seen[1], 1.0 + 0.5 * DRAWS.observation_noise[1, 0])
    np.testing.assert_array_equal(disturbances.execute(np.full((2, 2), 0.3))[0], [0.3, 0.3])


def test_action_noise_is_a_fraction_of_half_the_range():
    executed = disturb({"action_noise": 0.1}).execute(np.zeros((1, 2)))
    np.testing.assert_allclose(executed[0], 0.1 * np.array([1.0, 2.0]) * DRAWS.action_noise[1, 0])


def test_executed_actions_stay_in_the_box():
    for disturbances in (disturb({}), disturb({"action_noise": 100.0})):
        executed = disturbances.execute(np.full((1, 2), 50.0))
        assert ((executed >= LOW) & (executed <= HIGH)).all()


def test_delayed_actions_come_as_many_steps_later_and_zeros_before():
    disturbances = disturb({"action_delay": 2}, {}, {"action_delay": 1})
    executed = []
    for step in range(5):
        executed.append(disturbances.execute(np.full((3, 2), 0.1 * (step + 1)))[:, 0])
        disturbances.steps += 1
    expected = [[0, 0, 0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5], [0, 0.1, 0.2, 0.3, 0.4]]
    np.testing.assert_allclose(np.transpose(executed), expected)


def test_no_action_of_the_episode_before_comes_late():
    disturbances = disturb({"action_delay": 1})
    disturbances.execute(np.ones((1, 2)))
    disturbances.begin(np.array([0]), np.array([0]), np.array([0]))
    np.testing.assert_array_equal(disturbances.execute(np.ones((1, 2))), np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("push_constant", lambda steps, begin: np.ones(len(steps))),
        ("push_impulse", lambda steps, begin: steps == begin),
        ("push_step", lambda steps, begin: steps >= begin),
        ("push_random", lambda steps, begin: DRAWS.push_forces[1]),
    ],
)
def test_pushes_have_their_profile(name, profile):
    disturbances = disturb({name: 7.0})
    forces = []
    for _ in range(10):
        forces.append(disturbances.push()[0])
        disturbances.steps += 1
    np.testing.assert_allclose(forces, 7.0 * profile(np.arange(10), DRAWS.push_times[1]))


MODEL_STATE = (np.zeros(6), np.zeros(6))


def draws(*, seed: int = 0, num_episodes: int = 3, num_steps: int = 20) -> EpisodeDraws:
    return EpisodeDraws(seed, num_episodes, num_steps=num_steps, obs_dim=4, action_dim=2)


@pytest.mark.parametrize("name", ["observation_noise", "action_noise", "push_times", "push_forces"])
def test_episodes_have_the_same_draws_however_many_there_are(name):
    np.testing.assert_array_equal(getattr(draws(num_episodes=9), name)[:3], getattr(draws(), name))


@pytest.mark.parametrize("name", ["observation_noise", "action_noise", "push_times", "push_forces"])
def test_another_seed_gives_other_draws(name):
    many = {"num_episodes": 9, "num_steps": 1000}
    assert not np.array_equal(getattr(draws(seed=1, **many), name), getattr(draws(**many), name))


def test_episodes_differ():
    noise = draws().observation_noise
    assert len(np.unique(noise)) == noise.size == 3 * 20 * 4


def test_pushes_begin_in_the_first_half():
    times = draws(num_episodes=400).push_times
    assert set(times.tolist()) == set(range(10))


def test_initial_states_scale_with_the_noise():
    task = make_task("Hopper-v5")
    nominal, _ = draws().initial_states(task, MODEL_STATE, None)
    wider, _ = draws().initial_states(task, MODEL_STATE, 2.0 * task.reset_noise_scale)
    np.testing.assert_allclose(wider, 2.0 * nominal)
    np.testing.assert_array_equal(draws().initial_states(task, MODEL_STATE, task.reset_noise_scale)[0], nominal)


@pytest.mark.mujoco
def test_training_and_evaluation_of_one_seed_share_no_random_number():
    training = MuJoCoVectorEnv("Hopper-v5", 3, seed=0, pushes=Pushes(force_std=1.0, redraw_probability=0.5))
    collector = RolloutCollector(training, seed=0)
    trained_in = training.simulator_states()[:, :6]
    evaluated = EpisodeDraws(0, 3, num_steps=64, obs_dim=11, action_dim=3)
    positions, _ = evaluated.initial_states(training.task, (np.array([0.0, 1.25, 0, 0, 0, 0]), np.zeros(6)), None)
    assert not set(trained_in.ravel()) & set(positions.ravel())
    of_training = [stream.standard_normal(256) for stream in collector.streams]
    of_evaluation = [evaluated.action_noise.ravel(), evaluated.observation_noise.ravel(), evaluated.push_forces.ravel()]
    assert not np.intersect1d(np.concatenate(of_training), np.concatenate(of_evaluation)).size
    training.close()
