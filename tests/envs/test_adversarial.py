"""Adversarial tasks: the wrapper and the native worlds are one game, and the force reaches what it is meant for."""

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import tests.environments  # noqa: F401  (registers the toys)
from rrl import ADVERSARIAL_IDS
from rrl.envs import ADVERSARIAL_TASKS, AdversarialForce, AdversaryBodies, MuJoCoVectorEnv, make_vec_env
from rrl.envs.make import is_native

pytestmark = pytest.mark.mujoco
NATIVE_IDS = [env_id for env_id in ADVERSARIAL_IDS if is_native(env_id)]
# Gymnasium's own model of the half-cheetah uses a deprecated option.
QUIET = pytest.mark.filterwarnings("ignore:.*settotalmass:UserWarning", "ignore::DeprecationWarning")


def wrapped(env_id: str = "rrl/HopperAdv-v1", **options: object):
    return gymnasium.make(env_id, disable_env_checker=True, **options)


def test_every_row_is_registered_by_importing_the_package():
    assert set(ADVERSARIAL_IDS) == set(ADVERSARIAL_TASKS)
    assert set(ADVERSARIAL_IDS) <= set(gymnasium.registry)


@QUIET
@pytest.mark.parametrize("env_id", NATIVE_IDS)
def test_native_worlds_equal_the_wrapper_step_by_step(env_id: str):
    native = make_vec_env(env_id, 1, force_limit=40.0)
    native.reset(seed=3)
    env = wrapped(env_id, force_limit=40.0)
    env.reset(seed=0)
    simulator, rng = env.unwrapped, np.random.default_rng(1)
    mujoco.mj_resetData(simulator.model, simulator.data)
    simulator.set_state(*np.split(native.simulator_states()[0], [simulator.model.nq]))
    for _ in range(40):
        # Wider than the box, so that clipping is compared as well.
        action = rng.uniform(-1.0, 1.0, native.single_action_space.shape).astype(np.float32)
        attack = rng.uniform(-1.5, 1.5, native.adversary_dim)
        ours = native.step(action[None], native.adversary_forces(attack[None]))
        theirs = env.step({"protagonist": action, "adversary": 40.0 * attack})
        np.testing.assert_array_equal(ours[4].get("final_obs", ours[0])[0], theirs[0])
        np.testing.assert_array_equal([ours[1][0], ours[2][0]], [theirs[1], theirs[2]])
        if theirs[2]:
            break


@QUIET
@pytest.mark.parametrize("env_id", ADVERSARIAL_IDS)
@pytest.mark.filterwarnings("ignore:.*The environment .* is different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized space")
@pytest.mark.filterwarnings("ignore:.*Box (high|low)'s precision lowered")
@pytest.mark.filterwarnings("ignore:.*Box observation space m")
def test_gymnasiums_own_checks_pass(env_id: str):
    check_env(wrapped(env_id), skip_render_check=True)


def test_absolute_mass_applies_and_others_stay():
    heavy, nominal = (MuJoCoVectorEnv(env_id, 1)._simulations.model for env_id in ("rrl/Hopper6Adv-v1", "Hopper-v5"))
    assert heavy.body("torso").mass == 6.0
    assert heavy.body("foot").mass == nominal.body("foot").mass
    assert heavy.body_subtreemass[0] == pytest.approx(heavy.body_mass.sum())


def test_force_reaches_only_the_named_body_and_axes():
    worlds = make_vec_env("rrl/HopperHeelAdv-v1", 2)
    forces = worlds.adversary_forces(np.array([[1.0, -0.5], [9.0, 0.0]]))
    np.testing.assert_array_equal(forces, [[[5.0, 0.0, -2.5]], [[5.0, 0.0, 0.0]]])


def test_zero_limit_is_exactly_no_force():
    still, free = make_vec_env("rrl/HopperAdv-v1", 3, force_limit=0.0), make_vec_env("Hopper-v5", 3)
    still.reset(seed=1), free.reset(seed=1)
    for _ in range(30):
        actions = np.full((3, 3), 0.1, dtype=np.float32)
        ours, expected = still.step(actions, still.adversary_forces(np.ones((3, 2)))), free.step(actions)
        np.testing.assert_array_equal(ours[0], expected[0])


def test_limit_as_a_share_of_the_body_weight():
    native = make_vec_env("rrl/Hopper6Adv-v1", 1, force_limit=0.1, force_limit_unit="body_weight")
    model = native._simulations.model
    assert native.force_limit == pytest.approx(0.1 * 9.81 * model.body_mass.sum())
    env = wrapped("rrl/Hopper6Adv-v1", force_limit=0.1, force_limit_unit="body_weight")
    assert env.get_wrapper_attr("force_limit") == native.force_limit


def test_force_is_gone_after_the_step():
    env = wrapped()
    env.reset(seed=0)
    env.step({"protagonist": np.zeros(3, dtype=np.float32), "adversary": np.array([5.0, 5.0])})
    assert not env.unwrapped.data.xfrc_applied.any()


@QUIET
def test_environments_of_gymnasium_are_driven_like_native_worlds():
    torso = AdversaryBodies(bodies=["torso"], axes="xyz")
    worlds = make_vec_env("toy/Ant-v0", 2, adversary=torso, force_limit=2.0, max_episode_steps=5)
    worlds.reset()
    assert worlds.adversary_dim == 3
    forces = worlds.adversary_forces(np.full((2, 3), 7.0))
    np.testing.assert_array_equal(forces, np.full((2, 3), 2.0))
    for _ in range(5):
        _, rewards, _, truncated, infos = worlds.step(np.zeros((2, 8), dtype=np.float32), forces)
    assert rewards.shape == (2,)
    assert truncated.all()
    assert infos["final_obs"].shape == (2, worlds.single_observation_space.shape[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bodies": ["wing"]}, "`bodies` must be among .*'wing'"),
        ({"bodies": []}, "`bodies` must name at least one"),
        ({"bodies": ["torso"], "axes": "w"}, "`axes` must be different letters"),
        ({"bodies": ["torso"], "force_limit": -1.0}, "`force_limit` must be at least 0 .* -1"),
        ({"bodies": ["torso"], "masses": {"torso": 0.0}}, "must be positive and finite, got 0"),
        ({"bodies": ["torso"], "force_limit_unit": "pounds"}, "`force_limit_unit` must be .*'pounds'"),
    ],
)
def test_bad_input_is_named(options, message: str):
    with pytest.raises(ValueError, match=message):
        AdversarialForce(gymnasium.make("Hopper-v5"), **options)


def test_a_limit_needs_an_adversary():
    for env_id in ("Hopper-v5", "Pendulum-v1"):
        with pytest.raises(ValueError, match="`force_limit` needs one of the tasks"):
            make_vec_env(env_id, 1, force_limit=1.0)
