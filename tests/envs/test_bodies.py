import numpy as np
import pytest

from rrl.envs import TASK_BODIES, MuJoCoVectorEnv, PhysicsFactors, make_task
from rrl.envs.physics import PHYSICS_NAMES
from rrl.envs.simulation import Simulations
from tests.envs.reference import TASK_IDS

pytestmark = pytest.mark.mujoco


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_pushed_body_exists_and_a_force_moves_it(env_id):
    native = MuJoCoVectorEnv(env_id, 2, force_bodies=[TASK_BODIES[env_id].pushed])
    native.reset()
    native.set_simulator_states(np.tile(native.simulator_states()[:1], (2, 1)))
    forces = np.zeros((2, 1, 3))
    forces[1, 0, 0] = 5.0
    native.step(np.zeros(native.action_space.shape), forces)
    states = native.simulator_states()
    assert not np.array_equal(states[0], states[1])


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_exactly_the_listed_physics_change_the_motion(env_id):
    task = make_task(env_id)
    simulations = Simulations(task.model_path, 1 + len(PHYSICS_NAMES), 1)
    table = np.ones((1 + len(PHYSICS_NAMES), len(PHYSICS_NAMES)))
    table[1:] += 0.5 * np.eye(len(PHYSICS_NAMES))  # world 0 is nominal, world 1 + i changes factor i
    everyone = np.arange(len(table))
    simulations.physics.apply(PhysicsFactors.from_table(table), everyone)
    rng = np.random.default_rng(0)
    positions, velocities = task.initial_state(*simulations.initial_state, rng)
    simulations.begin(everyone, np.tile(positions, (len(table), 1)), np.tile(velocities, (len(table), 1)))
    for _ in range(100):
        simulations.advance(np.tile(rng.uniform(-1, 1, simulations.model.nu), (len(table), 1)), task.frame_skip)
    # The plane of motion is exact up to rounding, so gravity across it moves the last digits.
    moved = np.abs(simulations.worlds.positions[1:] - simulations.worlds.positions[0]).max(axis=1) > 1e-9
    changed = {name for name, differs in zip(PHYSICS_NAMES, moved, strict=True) if differs}
    assert changed == TASK_BODIES[env_id].physics
