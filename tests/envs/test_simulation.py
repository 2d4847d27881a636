import mujoco
import mujoco.batch
import numpy as np
import pytest

from rrl.envs.simulation import ModelFields, Simulations, WorldFields
from rrl.envs.tasks import make_task
from tests.envs.reference import TASK_IDS

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


NOMINAL = ModelFields()


class Worlds:
    """Simulations whose present models can be looked at."""

    def __init__(self, env_id: str, num_worlds: int) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(make_task(env_id).model_path))
        self.batch = mujoco.batch.Batch(self.model, num_worlds, 1)
        self.fields = WorldFields(self.batch)

    def model_of(self, world: int) -> mujoco.MjModel:
        return self.batch.get_model(int(world))


def different_fields(model: mujoco.MjModel, other: mujoco.MjModel) -> set[str]:
    def read(of: mujoco.MjModel, name: str) -> np.ndarray:
        return np.asarray(getattr(of.opt, name[4:]) if name.startswith("opt.") else getattr(of, name))

    names = mujoco.batch.MODEL_FIELDS
    return {name for name in names if not np.array_equal(read(model, name), read(other, name))}


def heavier(simulations: Worlds, factor: float, *, raw: bool = False) -> ModelFields:
    masses = {"body_mass": factor * simulations.model.body_mass}
    return ModelFields(raw=masses) if raw else ModelFields(refreshed=masses)


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_nominal_fields_after_others_restore_every_field_of_the_model(env_id):
    simulations = Worlds(env_id, 2)
    both = np.arange(2)
    simulations.fields.apply(both, [heavier(simulations, 1.7), heavier(simulations, 0.3, raw=True)])
    simulations.fields.apply(both, [NOMINAL, NOMINAL])
    for world in both:
        assert different_fields(simulations.model_of(world), simulations.model) == set()


def test_fields_replace_those_before_and_do_not_compound():
    simulations = Worlds("Hopper-v5", 1)
    for factor in (2.0, 0.5, 1.5):
        simulations.fields.apply(np.array([0]), [heavier(simulations, factor)])
    np.testing.assert_array_equal(simulations.model_of(0).body_mass, 1.5 * simulations.model.body_mass)


def test_fields_of_one_world_leave_the_others():
    simulations = Worlds("Hopper-v5", 3)
    simulations.fields.apply(np.array([1]), [heavier(simulations, 2.0)])
    changed = [different_fields(simulations.model_of(world), simulations.model) for world in range(3)]
    assert [bool(names) for names in changed] == [False, True, False]


def test_derived_constants_follow_refreshed_fields_and_not_raw_ones():
    simulations = Worlds("Hopper-v5", 2)
    # The second world was refreshed with other masses before: nothing of that may stay.
    simulations.fields.apply(np.array([1]), [heavier(simulations, 3.0)])
    simulations.fields.apply(np.arange(2), [heavier(simulations, 2.0), heavier(simulations, 2.0, raw=True)])
    refreshed, raw = simulations.model_of(0), simulations.model_of(1)
    np.testing.assert_array_equal(refreshed.body_subtreemass, 2.0 * simulations.model.body_subtreemass)
    assert different_fields(raw, simulations.model) == {"body_mass"}


def test_applying_fields_keeps_the_states():
    simulations = Worlds("Walker2d-v5", 2)
    simulations.batch.bind("qpos")[:], simulations.batch.bind("qvel")[:] = 0.1, 0.2
    before = simulations.batch.state.copy()
    simulations.fields.apply(np.array([1]), [heavier(simulations, 2.0)])
    np.testing.assert_array_equal(simulations.batch.state, before)
