import mujoco
import numpy as np
import pytest

from rrl.envs.simulation import Simulations
from rrl.envs.tasks import make_task

pytestmark = pytest.mark.mujoco


@pytest.fixture
def hoppers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log where a simulation becomes unstable
    simulations = Simulations(make_task("Hopper-v5").model_path, 3, 2)
    positions, velocities = simulations.initial_state
    simulations.begin(np.arange(3), np.tile(positions, (3, 1)), np.tile(velocities, (3, 1)))
    return simulations


def test_force_accelerates_the_pushed_world_only(hoppers):
    """Newton: in the air, the momentum along x is force times time."""
    hoppers.worlds.positions[:, 1] = 3.0
    forces = np.zeros((3, 1, 3))
    forces[1, 0, 0] = 10.0
    hoppers.exert([hoppers.body_id("foot")], forces)
    hoppers.advance(np.zeros((3, 3)), 5)
    np.testing.assert_allclose([momentum_along_x(hoppers, world) for world in range(3)], [0.0, 0.1, 0.0], atol=1e-6)
    np.testing.assert_array_equal(hoppers.state[0], hoppers.state[2])


def momentum_along_x(simulations, world):
    data = mujoco.MjData(simulations.model)
    data.qpos[:], data.qvel[:] = simulations.worlds.positions[world], simulations.worlds.velocities[world]
    mujoco.mj_forward(simulations.model, data)
    momentum = np.zeros(simulations.model.nv)
    mujoco.mj_mulM(simulations.model, data, momentum, data.qvel)
    return momentum[0]


def test_forces_end_with_the_step(hoppers):
    hoppers.exert([1], np.full((3, 1, 3), 5.0))
    hoppers.advance(np.zeros((3, 3)), 4)
    twin = Simulations(make_task("Hopper-v5").model_path, 3, 1)
    twin.state[:] = hoppers.state
    hoppers.advance(np.zeros((3, 3)), 4)
    twin.exert([1], np.zeros((3, 1, 3)))
    twin.advance(np.zeros((3, 3)), 4)
    np.testing.assert_array_equal(hoppers.state, twin.state)


def test_begin_forgets_forces_and_the_past(hoppers):
    begun = hoppers.state.copy()
    hoppers.advance(np.ones((3, 3)), 40)
    hoppers.exert([1], np.full((3, 1, 3), 5.0))
    positions, velocities = hoppers.initial_state
    hoppers.begin(np.array([0, 2]), np.tile(positions, (2, 1)), np.tile(velocities, (2, 1)))
    np.testing.assert_array_equal(hoppers.state[[0, 2]], begun[[0, 2]])
    assert not np.array_equal(hoppers.state[1], begun[1])


def test_unstable_world_is_reported_once(hoppers):
    forces = np.zeros((3, 1, 3))
    forces[1, 0, 0] = 1e14
    hoppers.exert([1], forces)
    np.testing.assert_array_equal(hoppers.advance(np.zeros((3, 3)), 4), [False, True, False])
    np.testing.assert_array_equal(hoppers.advance(np.zeros((3, 3)), 4), [False, False, False])


def test_instability_in_the_last_step_is_reported(hoppers):
    """MuJoCo looks at the state when a step begins, so what the last one did to it is unknown to its warnings."""
    hoppers.worlds.velocities[2] = 1e200
    assert hoppers.advance(np.zeros((3, 3)), 1)[2]


def test_unknown_body_is_named(hoppers):
    with pytest.raises(ValueError, match=r"`bodies` must be among \['torso', .*got 'tail'"):
        hoppers.body_id("tail")
