import mujoco
import numpy as np
import pytest

from rrl.envs import TASK_BODIES, MuJoCoVectorEnv
from rrl.envs.physics import MODEL_PARAMETERS, ModelChange, RandomPhysics, Ranges, changed_fields, floor_note
from rrl.envs.simulation import ModelFields, Simulations
from rrl.envs.tasks import make_task
from tests.envs.reference import TASK_IDS, GymnasiumWorlds, assert_same_steps

pytestmark = pytest.mark.mujoco


@pytest.fixture(scope="module")
def models() -> dict[str, mujoco.MjModel]:
    names = ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Reacher-v5", "Swimmer-v5", "InvertedPendulum-v5"]
    return {name: mujoco.MjModel.from_xml_path(str(make_task(name).model_path)) for name in names}


def change(models, env_id: str, *changes: ModelChange) -> ModelFields:
    return changed_fields(models[env_id], env_id, changes)


def drawn(ranges: Ranges, seeds: list[int], **options: float) -> dict[str, np.ndarray]:
    simulations = Simulations(make_task("Hopper-v5").model_path, len(seeds), 1)
    physics = RandomPhysics(ranges, "Hopper-v5", simulations)
    physics.restart(np.arange(len(seeds)), [np.random.default_rng(seed) for seed in seeds], **options)
    return physics.factors


def test_draws_fill_their_range():
    mass = drawn({"mass": (0.5, 1.5)}, list(range(500)))["mass"]
    assert 0.5 <= mass.min() < 0.52
    assert 1.48 < mass.max() <= 1.5


@pytest.mark.parametrize("bounds", [(0.5, 1.5), (0.9, 1.8), (1.2, 1.6), (0.3, 0.7)])
@pytest.mark.parametrize("width", [0.0, 0.25, 0.8, 1.0])
def test_a_width_shrinks_the_range_towards_one(bounds, width):
    (low, high), mass = bounds, drawn({"mass": bounds}, list(range(300)), width=width)["mass"]
    smallest, largest = 1.0 - width * (1.0 - low), 1.0 + width * (high - 1.0)
    margin = 0.03 * (largest - smallest)
    assert smallest - 1e-12 <= mass.min() <= smallest + margin + 1e-12
    assert largest - margin - 1e-12 <= mass.max() <= largest + 1e-12


def test_full_width_changes_no_bit():
    ranges = {"mass": (0.5, 1.5), "gear": (0.9, 1.1)}
    assert (drawn(ranges, [0, 1, 2], width=1.0)["gear"] == drawn(ranges, [0, 1, 2])["gear"]).all()
    assert drawn(ranges, [7])["mass"] == np.random.default_rng(7).uniform(0.5, 1.5)


def test_draws_depend_on_the_own_stream_and_not_on_the_order_of_names():
    ranges = {"mass": (0.5, 1.5), "gear": (0.9, 1.1)}
    everyone, last = drawn(ranges, [0, 1, 2]), drawn(dict(reversed(ranges.items())), [2])
    assert everyone["gear"][2:] == last["gear"]
    assert everyone["mass"][2:] == last["mass"]


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_changed_physics_with_forces_equal_a_changed_gymnasium_model(env_id):
    factors = {"mass": 1.3, "friction": 0.6, "damping": 1.8, "gravity": 0.7, "gear": 0.9}
    effective = TASK_BODIES[env_id].physics
    native = MuJoCoVectorEnv(env_id, 2, physics={name: (factors[name], factors[name]) for name in effective})
    native.reset()
    worlds = GymnasiumWorlds(native)
    worlds.change_physics(native.physics)
    assert_same_steps(worlds, 150, bodies=[TASK_BODIES[env_id].pushed], force_std=2.0)


@pytest.mark.parametrize("name", sorted(MODEL_PARAMETERS))
def test_factor_of_one_writes_the_nominal_values(models, name):
    env_id = "Hopper-v5"
    if name == "frictionloss":
        pytest.skip("it is nominally 0, see below")
    fields = change(models, env_id, ModelChange(name, 1.0))
    for field, values in {**fields.refreshed, **fields.raw}.items():
        owner = models[env_id].opt if field.startswith("opt.") else models[env_id]
        np.testing.assert_array_equal(values, getattr(owner, field.removeprefix("opt.")))


def test_mass_without_inertia_is_raw(models):
    fields = change(models, "Hopper-v5", ModelChange("mass_only", 2.0, ("torso",)))
    assert list(fields.raw) == ["body_mass"]
    assert fields.refreshed == {}
    factors = fields.raw["body_mass"][1:] / models["Hopper-v5"].body_mass[1:]
    np.testing.assert_array_equal(factors, [2.0, 1.0, 1.0, 1.0])


def test_absolute_mass_scales_inertia_along(models):
    model = models["Hopper-v5"]
    fields = change(models, "Hopper-v5", ModelChange("mass", 6.0, ("torso",), absolute=True))
    assert fields.refreshed["body_mass"][1] == 6.0
    np.testing.assert_allclose(fields.refreshed["body_inertia"][1], model.body_inertia[1] * 6.0 / model.body_mass[1])
    np.testing.assert_array_equal(fields.refreshed["body_inertia"][2:], model.body_inertia[2:])


def test_floor_friction_changes_the_floor_alone(models):
    fields = change(models, "Walker2d-v5", ModelChange("floor_friction", 2.0))
    changed = (fields.refreshed["geom_friction"] != models["Walker2d-v5"].geom_friction).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(changed), [models["Walker2d-v5"].geom("floor").id])


def test_absolute_friction_is_the_sliding_coefficient(models):
    friction = change(models, "HalfCheetah-v5", ModelChange("friction", 0.9, absolute=True)).refreshed["geom_friction"]
    np.testing.assert_array_equal(friction[:, 0], np.full(9, 0.9))
    np.testing.assert_array_equal(friction[:, 1:], models["HalfCheetah-v5"].geom_friction[:, 1:])


def test_absolute_gravity_is_its_length(models):
    gravity = change(models, "Hopper-v5", ModelChange("gravity", 3.0, absolute=True)).refreshed["opt.gravity"]
    np.testing.assert_allclose(gravity, [0.0, 0.0, -3.0])


def test_joints_and_actuators_are_named_by_joint(models):
    changes = [ModelChange("damping", 2.0, ("leg_joint",)), ModelChange("gear", 0.5, ("foot_joint",))]
    fields = change(models, "Hopper-v5", *changes)
    np.testing.assert_array_equal(fields.refreshed["dof_damping"], [0, 0, 0, 1, 2, 1])
    np.testing.assert_array_equal(fields.refreshed["actuator_gear"][:, 0], [200, 200, 100])


def test_changes_of_one_field_follow_one_another(models):
    changes = [ModelChange("friction", 1.3, ("floor",)), ModelChange("friction", 0.7, ("foot_geom",))]
    friction = change(models, "Hopper-v5", *changes).refreshed["geom_friction"][:, 0]
    np.testing.assert_allclose(friction, [1.3, 0.9, 0.9, 0.9, 1.4])


def test_mass_without_inertia_comes_on_top_of_mass(models):
    changes = [ModelChange("mass_only", 3.0, ("torso",)), ModelChange("mass", 2.0)]
    fields = change(models, "Hopper-v5", *changes)
    nominal = models["Hopper-v5"].body_mass
    np.testing.assert_array_equal(fields.raw["body_mass"], nominal * [1, 6, 2, 2, 2])
    np.testing.assert_array_equal(fields.refreshed["body_mass"], 2.0 * nominal)


def test_the_nominal_model_stays(models):
    before = models["Hopper-v5"].body_mass.copy()
    change(models, "Hopper-v5", ModelChange("mass", 2.0), ModelChange("mass_only", 2.0))
    np.testing.assert_array_equal(models["Hopper-v5"].body_mass, before)


@pytest.mark.parametrize(
    ("env_id", "changed", "message"),
    [
        ("Hopper-v5", ModelChange("mass", 2.0, ("tail",)), r"`mass` of Hopper-v5 has the parts .*'torso'.*got 'tail'"),
        ("Hopper-v5", ModelChange("friction", 2.0, ("tail",)), r"has the parts .*'foot_geom'.*got 'tail'"),
        ("Hopper-v5", ModelChange("gear", 2.0, ("tail",)), r"has the parts .*'foot_joint'.*got 'tail'"),
        ("Hopper-v5", ModelChange("gravity", 2.0, ("torso",)), r"`gravity` has no parts, got \['torso'\]"),
        ("Hopper-v5", ModelChange("mass", 0.0), "`mass` must be positive and finite, got 0.0"),
        ("Hopper-v5", ModelChange("mass", np.nan), "`mass` must be positive and finite, got nan"),
        ("Hopper-v5", ModelChange("damping", -1.0, absolute=True), "`damping` must be at least 0 and finite"),
        ("Hopper-v5", ModelChange("mass", 2.0, absolute=True), "`absolute mass` must name bodies"),
        ("Hopper-v5", ModelChange("frictionloss", 2.0), "`frictionloss` of Hopper-v5 is nominally 0"),
        ("Swimmer-v5", ModelChange("damping", 2.0), "`damping` of Swimmer-v5 is nominally 0"),
        ("Swimmer-v5", ModelChange("gravity", 2.0), "`gravity` has no effect on Swimmer-v5"),
        (
            "InvertedPendulum-v5",
            ModelChange("floor_friction", 2.0),
            "`floor_friction` has no effect on InvertedPendulum",
        ),
    ],
)
def test_changes_without_effect_or_sense_raise_one_sentence(models, env_id, changed, message):
    with pytest.raises(ValueError, match=message) as error:
        change(models, env_id, changed)
    assert "\n" not in str(error.value)


def test_note_names_the_friction_below_which_the_floor_does_not_matter(models):
    assert "nominally 1, changes nothing under the feet below their own 2." in floor_note(
        models["Hopper-v5"], "Hopper-v5"
    )
