import numpy as np
import pytest

from rrl.envs.tasks import make_task
from rrl.evaluation.draws import EpisodeDraws

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
