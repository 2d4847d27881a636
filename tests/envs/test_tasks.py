import inspect
from dataclasses import fields

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import load_env_creator

from rrl.envs import TASKS, MuJoCoVectorEnv, make_task
from tests.envs.reference import TASK_IDS, GymnasiumWorlds, assert_same_steps

pytestmark = pytest.mark.mujoco

OTHER_OPTIONS = {
    "InvertedPendulum-v5": {"reset_noise_scale": 0.1, "frame_skip": 3},
    "InvertedDoublePendulum-v5": {"healthy_reward": 3.0, "reset_noise_scale": 0.3},
    "Hopper-v5": {
        "healthy_state_range": (-2.0, 2.0),
        "healthy_z_range": (1.0, 1.5),
        "healthy_angle_range": (-0.1, 0.3),
        "healthy_reward": 2.0,
        "exclude_current_positions_from_observation": False,
    },
    "Walker2d-v5": {"terminate_when_unhealthy": False, "forward_reward_weight": 0.5, "ctrl_cost_weight": 0.2},
    "HalfCheetah-v5": {"ctrl_cost_weight": 0.3, "exclude_current_positions_from_observation": False},
    "Swimmer-v5": {"forward_reward_weight": 2.0, "exclude_current_positions_from_observation": False},
    "Reacher-v5": {"reward_dist_weight": 2.0, "reward_control_weight": 0.1},
    "Ant-v5": {"contact_cost_weight": 0.1, "contact_force_range": (-9.0, 9.0), "healthy_z_range": (0.3, 0.9)},
    "Humanoid-v5": {
        "contact_cost_weight": 1e-3,
        "contact_cost_range": (0.1, 3.0),
        "include_cinert_in_observation": False,
    },
    "HumanoidStandup-v5": {"impact_cost_weight": 1e-3, "exclude_current_positions_from_observation": False},
    "Pusher-v5": {"reward_near_weight": 2.0, "reward_control_weight": 0.5},
}


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_native_worlds_equal_gymnasium_step_by_step(env_id):
    native = MuJoCoVectorEnv(env_id, 2)
    native.reset()
    terminations = assert_same_steps(GymnasiumWorlds(native), 250, bodies=[])
    assert (terminations > 0) == native.task.terminates


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_options_mean_what_they_mean_in_gymnasium(env_id):
    options = OTHER_OPTIONS[env_id]
    native = MuJoCoVectorEnv(env_id, 2, env_kwargs=options)
    native.reset()
    worlds = GymnasiumWorlds(native, options)
    assert native.single_observation_space == worlds.envs[0].observation_space
    assert native.single_action_space == worlds.envs[0].action_space
    assert native.dt == worlds.envs[0].dt
    assert_same_steps(worlds, 150, bodies=[])


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_options_and_their_defaults_are_gymnasiums(env_id):
    signature = inspect.signature(load_env_creator(gymnasium.spec(env_id).entry_point))
    skipped = {"xml_file", "default_camera_config", "kwargs"}
    theirs = {name: value.default for name, value in signature.parameters.items() if name not in skipped}
    assert {field.name: field.default for field in fields(TASKS[env_id]) if field.name != "xml_file"} == theirs
    assert TASKS[env_id].model_file == signature.parameters["xml_file"].default
    assert TASKS[env_id].max_episode_steps == gymnasium.spec(env_id).max_episode_steps


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_initial_states_are_drawn_like_gymnasiums(env_id):
    env = gymnasium.make(env_id).unwrapped
    env.reset(seed=5)
    generator = np.random.default_rng()
    generator.bit_generator.state = env.np_random.bit_generator.state
    env.reset()
    positions, velocities = make_task(env_id).initial_state(env.init_qpos, env.init_qvel, generator)
    np.testing.assert_array_equal(positions, env.data.qpos)
    np.testing.assert_array_equal(velocities, env.data.qvel)


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("InvertedPendulum-v5", {}),
        ("Hopper-v5", {}),
        ("Hopper-v5", OTHER_OPTIONS["Hopper-v5"]),
        ("Walker2d-v5", {}),
        ("Walker2d-v5", {"exclude_current_positions_from_observation": False}),
    ],
)
def test_healthy_box_is_the_termination_test(env_id, options):
    native = MuJoCoVectorEnv(env_id, 32, env_kwargs=options)
    native.reset()
    rng, seen = np.random.default_rng(0), set()
    for _ in range(100):
        actions = 3 * rng.uniform(-1, 1, native.action_space.shape)
        observations, _, terminated, _, infos = native.step(actions)
        last = infos.get("final_obs", observations)
        low, high = native.task.healthy_box
        inside = ((low < last) & (last < high)).all(axis=1)
        np.testing.assert_array_equal(inside, ~terminated)
        seen |= set(terminated.tolist())
    assert seen == {False, True}


def test_pendulum_may_lean_to_its_bound_exactly():
    low, high = make_task("InvertedPendulum-v5").healthy_box
    assert low[1] < -0.2 < 0.2 < high[1]
    assert high[1] == pytest.approx(0.2, abs=1e-15)


@pytest.mark.parametrize(
    "env_id", ["InvertedDoublePendulum-v5", "HalfCheetah-v5", "Swimmer-v5", "Reacher-v5", "Ant-v5"]
)
def test_no_healthy_box_where_termination_is_none(env_id):
    assert make_task(env_id).healthy_box is None


def test_no_healthy_box_when_termination_is_switched_off():
    task = make_task("Hopper-v5", {"terminate_when_unhealthy": False})
    assert not task.terminates
    assert task.healthy_box is None


def test_unknown_option_is_named():
    with pytest.raises(ValueError, match=r"env_kwargs.*reset_noise_scale.*got \['reset_noise'\]"):
        make_task("Hopper-v5", {"reset_noise": 0.1})


def test_unknown_task_is_named():
    with pytest.raises(ValueError, match=r"`env_id` must be one of .*Hopper-v5.*got 'Bee-v5'"):
        make_task("Bee-v5")
