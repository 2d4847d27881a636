import numpy as np
import pytest

from rrl.envs import TASK_BODIES, MuJoCoVectorEnv, make_task
from rrl.envs.physics import MODEL_PARAMETERS
from rrl.envs.simulation import ModelFields, Simulations, nominal_field
from tests.envs.reference import TASK_IDS

pytestmark = pytest.mark.mujoco


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_pushed_body_exists_and_a_force_moves_it(env_id):
    native = MuJoCoVectorEnv(env_id, 2)
    native.reset()
    native.set_simulator_states(np.tile(native.simulator_states()[:1], (2, 1)))
    forces = np.zeros((2, 1, 3))
    forces[1, 0, 0] = 5.0
    native.step(np.zeros(native.action_space.shape), forces)
    states = native.simulator_states()
    assert not np.array_equal(states[0], states[1])


def scaled(model, name: str, factor: float) -> ModelFields:
    """Scale a parameter of the whole model, whether that has an effect or not."""
    fields = MODEL_PARAMETERS[name].fields
    return ModelFields({field: factor * nominal_field(model, field) for field in fields})


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_exactly_the_listed_physics_change_the_motion(env_id):
    task = make_task(env_id)
    names = ("mass", "friction", "damping", "gravity", "gear")
    simulations = Simulations(task.model_path, 1 + len(names), 1)
    everyone = np.arange(1 + len(names))  # world 0 is nominal, world 1 + i changes parameter i
    changed = [scaled(simulations.model, name, 1.5) for name in names]
    simulations.fields.apply(everyone, [ModelFields(), *changed])
    rng = np.random.default_rng(0)
    positions, velocities = task.initial_state(*simulations.initial_state, rng)
    simulations.begin(everyone, np.tile(positions, (len(everyone), 1)), np.tile(velocities, (len(everyone), 1)))
    for _ in range(100):
        simulations.advance(np.tile(rng.uniform(-1, 1, simulations.model.nu), (len(everyone), 1)), task.frame_skip)
    # The plane of motion is exact up to rounding, so gravity across it moves the last digits.
    moved = np.abs(simulations.worlds.positions[1:] - simulations.worlds.positions[0]).max(axis=1) > 1e-9
    assert {name for name, differs in zip(names, moved, strict=True) if differs} == TASK_BODIES[env_id].physics
