import numpy as np
import pytest

from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.disturbances import Disturbances
from rrl.evaluation.cells.draws import EpisodeDraws

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
