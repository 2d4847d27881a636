import mujoco
import mujoco.batch
import numpy as np
import pytest

from rrl.envs.fields import ModelFields, WorldFields
from rrl.envs.tasks import make_task
from tests.envs.reference import TASK_IDS

pytestmark = pytest.mark.mujoco

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
