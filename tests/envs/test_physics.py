import numpy as np
import pytest

from rrl.envs import TASK_BODIES, MuJoCoVectorEnv, PhysicsFactors
from rrl.envs.physics import PHYSICS_NAMES, validate_ranges
from rrl.envs.simulation import Simulations
from rrl.envs.tasks import make_task
from tests.envs.reference import TASK_IDS, GymnasiumWorlds, assert_same_steps


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_identity_is_one_everywhere():
    np.testing.assert_array_equal(PhysicsFactors.identity(3).as_table(), np.ones((3, 5)))


def test_table_round_trip_keeps_every_factor():
    table = np.arange(1.0, 11.0).reshape(2, 5)
    factors = PhysicsFactors.from_table(table)
    np.testing.assert_array_equal(factors.damping, [3.0, 8.0])
    np.testing.assert_array_equal(factors.as_table(), table)


def test_samples_fill_their_range_and_leave_the_rest():
    factors = PhysicsFactors.sample({"mass": (0.5, 1.5)}, generators(500))
    assert 0.5 <= factors.mass.min() < 0.52
    assert 1.48 < factors.mass.max() <= 1.5
    np.testing.assert_array_equal(factors.friction, np.ones(500))


def test_samples_depend_on_the_own_stream_and_not_on_the_order_of_names():
    ranges = {"mass": (0.5, 1.5), "gear": (0.9, 1.1)}
    everyone = PhysicsFactors.sample(ranges, generators(3)).as_table()
    last = PhysicsFactors.sample(dict(reversed(ranges.items())), generators(3)[2:]).as_table()
    np.testing.assert_array_equal(everyone[2:], last)


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf])
def test_factor_that_is_not_positive_and_finite_raises(factor):
    with pytest.raises(ValueError, match="`mass` must hold positive finite factors"):
        PhysicsFactors.constant(2, {"mass": factor})


def test_unknown_factor_raises():
    with pytest.raises(ValueError, match=r"`factors` may hold .*'mass'.*got \['wind'\]"):
        PhysicsFactors.constant(2, {"wind": 1.0})


def test_factors_of_different_lengths_raise():
    columns = PhysicsFactors.identity(2).as_dict() | {"gear": np.ones(3)}
    with pytest.raises(ValueError, match=r"`gear` must have shape \[N\] with N = 2"):
        PhysicsFactors(**columns)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (1.0, np.inf), (np.nan, 1.0)])
def test_range_that_is_none_raises(bounds):
    with pytest.raises(ValueError, match="0 < low <= high < inf"):
        validate_ranges({"mass": bounds})


def test_unknown_range_raises():
    with pytest.raises(ValueError, match=r"`physics` may hold .*got \['wind'\]"):
        validate_ranges({"wind": (0.5, 1.5)})


@pytest.mark.mujoco
@pytest.mark.parametrize("env_id", TASK_IDS)
def test_changed_physics_with_forces_equal_a_changed_gymnasium_model(env_id):
    effective = TASK_BODIES[env_id].physics
    native = MuJoCoVectorEnv(env_id, 2)
    drawn = PhysicsFactors.sample({name: (0.5, 2.0) for name in effective}, generators(2))
    native.set_physics(drawn)
    native.reset()
    worlds = GymnasiumWorlds(native)
    worlds.change_physics(drawn)
    assert_same_steps(worlds, 150, bodies=[TASK_BODIES[env_id].pushed], force_std=2.0)


@pytest.mark.mujoco
@pytest.mark.parametrize("env_id", TASK_IDS)
def test_nominal_physics_come_back_exactly(env_id):
    """Every model field of the simulations equals the loaded model's again, bit for bit."""
    simulations = Simulations(make_task(env_id).model_path, 2, 1)
    worlds = np.arange(2)
    simulations.physics.apply(PhysicsFactors.sample(dict.fromkeys(PHYSICS_NAMES, (0.3, 3.0)), generators(2)), worlds)
    assert not np.array_equal(simulations.physics.factors.as_table(), np.ones((2, 5)))
    simulations.physics.apply(PhysicsFactors.identity(2), worlds)
    for world in worlds:
        restored = simulations.model_of(world)
        assert model_bytes(restored) == model_bytes(simulations.model)


@pytest.mark.mujoco
def test_physics_of_some_worlds_leave_the_others_and_all_states():
    simulations = Simulations(make_task("Hopper-v5").model_path, 3, 1)
    simulations.begin(np.arange(3), np.full((3, 6), 0.3), np.full((3, 6), 0.1))
    states = simulations.state.copy()
    simulations.physics.apply(PhysicsFactors.constant(1, {"mass": 2.0}), np.array([1]))
    np.testing.assert_array_equal(simulations.state, states)
    np.testing.assert_array_equal(simulations.physics.factors.mass, [1.0, 2.0, 1.0])
    total = [simulations.model_of(world).body_subtreemass[0] for world in range(3)]
    assert total[1] == pytest.approx(2 * total[0])
    assert total[2] == total[0]


def model_bytes(model: object) -> dict[str, bytes]:
    arrays = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    arrays["gravity"] = model.opt.gravity  # type: ignore[attr-defined]
    return {name: array.tobytes() for name, array in arrays.items() if isinstance(array, np.ndarray)}
