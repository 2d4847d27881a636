import numpy as np
import pytest

from rrl.envs.simulation import Simulations
from rrl.envs.task import make_transition
from rrl.envs.tasks import make_task

pytestmark = pytest.mark.mujoco


def test_worlds_that_are_left_out_stand_still_and_the_others_move_as_if_alone():
    task = make_task("Hopper-v5")
    some, alone = Simulations(task.model_path, 3, 1), Simulations(task.model_path, 1, 1)
    for simulations in (some, alone):
        everyone = np.arange(len(simulations.state))
        simulations.begin(everyone, *(np.tile(state, (len(everyone), 1)) for state in simulations.initial_state))
    before = some.state.copy()
    actions = np.full((3, 3), 0.4)
    step = make_transition(some, task, actions, task.observe(some.worlds), worlds=np.array([1]))
    expected = make_transition(alone, task, actions[:1], task.observe(alone.worlds))
    np.testing.assert_array_equal(some.worlds.positions[[0, 2]], before[[0, 2], 1:7])
    np.testing.assert_array_equal(step.observations[1], expected.observations[0])
    assert step.rewards[1] == expected.rewards[0]
    assert not np.array_equal(some.worlds.positions[1], before[1, 1:7])
