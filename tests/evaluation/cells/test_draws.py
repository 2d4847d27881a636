import numpy as np
import pytest

from rrl.envs import MuJoCoVectorEnv, Pushes
from rrl.envs.tasks import make_task
from rrl.evaluation.cells.draws import EpisodeDraws
from rrl.rollout import RolloutCollector

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
