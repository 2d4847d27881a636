import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rrl.envs import MuJoCoVectorEnv, Pushes
from tests.envs.reference import TASK_IDS, GymnasiumWorlds, assert_same_steps

pytestmark = pytest.mark.mujoco

NO_RANGES = [(0.0, 1.0), (2.0, 1.0), (1.0, np.inf), (np.nan, 1.0)]
DISTURBED = {"pushes": Pushes(force_std=20.0, redraw_probability=0.1), "physics": {"mass": (0.5, 1.5)}}


def record(envs: MuJoCoVectorEnv, num_steps: int = 120, *, first_world: int = 0) -> list[np.ndarray]:
    """Observations, rewards and ends under actions that depend on the world and the step only."""
    rows, (_, num_actions) = [], envs.action_space.shape
    world = np.arange(first_world, first_world + envs.num_envs)[:, None]
    for step in range(num_steps):
        actions = np.sin(1.0 + world + 0.3 * step * np.arange(1, num_actions + 1))
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        rows.append(np.column_stack([observations, rewards, terminated, truncated]))
    return np.stack(rows)


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log where a simulation becomes unstable


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_spaces_and_types_follow_gymnasiums_interface(env_id):
    envs = MuJoCoVectorEnv(env_id, 3)
    reference = gymnasium.make(env_id)
    assert envs.single_observation_space == reference.observation_space
    assert envs.single_action_space == reference.action_space
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert envs.spec.id == env_id
    observations, infos = envs.reset(seed=1)
    assert observations in envs.observation_space
    assert infos == {}
    observations, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert observations in envs.observation_space
    assert rewards.shape == terminated.shape == truncated.shape == (3,)
    assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
    envs.close()
    assert envs.closed


@pytest.mark.parametrize(
    ("env_id", "bodies"),
    [
        ("rrl/HopperHeelAdv-v1", ["foot"]),
        ("rrl/Walker2dHeelAdv-v1", ["foot", "foot_left"]),
        ("rrl/HalfCheetahHeelAdv-v1", ["bfoot", "ffoot"]),
    ],
)
def test_forces_on_named_bodies_equal_gymnasiums(env_id, bodies):
    native = MuJoCoVectorEnv(env_id, 2)
    native.reset()
    assert_same_steps(GymnasiumWorlds(native), 150, bodies=bodies, force_std=30.0)


def test_zero_force_is_no_force():
    without, zero = MuJoCoVectorEnv("Hopper-v5", 2), MuJoCoVectorEnv("Hopper-v5", 2)
    without.reset()
    zero.reset()
    for step in range(100):
        actions = np.full((2, 3), np.sin(step))
        np.testing.assert_array_equal(without.step(actions)[0], zero.step(actions, np.zeros((2, 1, 3)))[0])
    np.testing.assert_array_equal(without.state_dict()["simulations"], zero.state_dict()["simulations"])


def test_force_is_gone_in_the_next_step_and_after_a_reset():
    envs = MuJoCoVectorEnv("HalfCheetah-v5", 2)
    envs.reset()
    states = envs.simulator_states()
    free = [envs.step(np.zeros((2, 6)))[0] for _ in range(2)][-1]
    envs.set_simulator_states(states)
    envs.step(np.zeros((2, 6)), np.full((2, 1, 3), 100.0))
    envs.set_simulator_states(states)
    again = [envs.step(np.zeros((2, 6)))[0] for _ in range(2)][-1]
    np.testing.assert_array_equal(free, again)


def test_only_the_world_that_ended_resets_and_its_last_observation_is_kept():
    envs = MuJoCoVectorEnv("InvertedPendulum-v5", 3)
    envs.reset()
    states = np.zeros((3, 4))
    states[1, 1] = 0.199
    states[1, 3] = 2.0
    envs.set_simulator_states(states)
    observations, rewards, terminated, truncated, infos = envs.step(np.zeros((3, 1)))
    np.testing.assert_array_equal(terminated, [False, True, False])
    np.testing.assert_array_equal(infos["_final_obs"], terminated)
    np.testing.assert_array_equal(rewards, [1.0, 0.0, 1.0])
    assert not truncated.any()
    assert infos["final_obs"].dtype == np.float64
    assert infos["final_obs"][1, 1] > 0.2
    assert (np.abs(observations[1]) <= 0.01).all()
    np.testing.assert_array_equal(infos["final_obs"][[0, 2]], observations[[0, 2]])
    assert "final_obs" not in envs.step(np.zeros((3, 1)))[-1]


def test_time_limit_truncates_without_terminating():
    envs = MuJoCoVectorEnv("HalfCheetah-v5", 2, max_episode_steps=3)
    envs.reset()
    ends = [envs.step(np.zeros((2, 6)))[2:4] for _ in range(7)]
    assert not any(terminated.any() for terminated, _ in ends)
    assert [truncated.all() for _, truncated in ends] == [False, False, True] * 2 + [False]


def test_time_limit_is_gymnasiums_by_default():
    envs = MuJoCoVectorEnv("Reacher-v5", 1)
    envs.reset()
    truncated = [bool(envs.step(np.zeros((1, 2)))[3][0]) for _ in range(50)]
    assert truncated == [False] * 49 + [True]


def test_velocity_times_time_is_the_distance_also_where_an_episode_ends():
    envs = MuJoCoVectorEnv("HalfCheetah-v5", 2, max_episode_steps=20)
    envs.reset()
    before = envs.simulator_states()[:, 0]
    velocities = [envs.step(np.ones((2, 6)))[-1]["x_velocity"] for _ in range(19)]
    travelled = envs.simulator_states()[:, 0] - before
    np.testing.assert_allclose(np.sum(velocities, axis=0) * envs.dt, travelled, atol=1e-12)
    assert envs.step(np.ones((2, 6)))[-1]["x_velocity"].shape == (2,)


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_saved_state_resumes_bit_for_bit(env_id):
    settings = {"seed": 3, "max_episode_steps": 70, **DISTURBED}
    envs = MuJoCoVectorEnv(env_id, 3, **settings)
    envs.reset()
    record(envs, 60)
    saved = envs.state_dict()
    resumed = MuJoCoVectorEnv(env_id, 3, **(settings | {"seed": 8}))
    resumed.load_state_dict(saved)
    np.testing.assert_array_equal(record(envs, 300), record(resumed, 300))


def test_state_of_other_worlds_raises():
    envs = MuJoCoVectorEnv("Hopper-v5", 2)
    envs.reset()
    with pytest.raises(ValueError, match=r"`state` must hold simulations of shape \[3,"):
        MuJoCoVectorEnv("Hopper-v5", 3).load_state_dict(envs.state_dict())
    for name in ("observations", "forward_positions"):
        with pytest.raises(ValueError, match="observations and positions of 2 worlds"):
            envs.load_state_dict(envs.state_dict() | {name: envs.state_dict()[name][..., None]})
    with pytest.raises(ValueError, match="same pushes"):
        MuJoCoVectorEnv("Hopper-v5", 2, pushes=DISTURBED["pushes"]).load_state_dict(envs.state_dict())
    with pytest.raises(ValueError, match=r"random \['mass'\], got \[\]"):
        MuJoCoVectorEnv("Hopper-v5", 2, physics=DISTURBED["physics"]).load_state_dict(envs.state_dict())


@pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5"])
def test_worlds_do_not_depend_on_how_they_are_split_or_threaded(env_id):
    settings = {"seed": 4, "max_episode_steps": 50, **DISTURBED}
    whole = MuJoCoVectorEnv(env_id, 5, num_threads=2, **settings)
    parts = [
        (first, MuJoCoVectorEnv(env_id, count, first_world=first, num_threads=1, **settings))
        for first, count in ((0, 2), (2, 3))
    ]
    together, split = [whole.reset()[0]], [[part.reset()[0] for _, part in parts]]
    np.testing.assert_array_equal(together[0], np.concatenate(split[0]))
    expected = record(whole, 300)
    np.testing.assert_array_equal(
        expected, np.concatenate([record(part, 300, first_world=first) for first, part in parts], axis=1)
    )


def test_seed_decides_the_worlds_and_no_two_are_equal():
    envs = MuJoCoVectorEnv("Hopper-v5", 4, seed=1)
    first, _ = envs.reset()
    second, _ = envs.reset()
    again, _ = envs.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(np.concatenate([first, second])[:, 0])) == 8


@pytest.mark.parametrize("env_id", TASK_IDS)
def test_states_that_are_set_again_replay_bit_for_bit(env_id):
    envs = MuJoCoVectorEnv(env_id, 2)
    envs.reset()
    record(envs, 7)
    states = envs.simulator_states()
    first = envs.set_simulator_states(states)
    steps = record(envs, 40)
    np.testing.assert_array_equal(envs.set_simulator_states(states), first)
    ended = steps[:, :, -2:].any(axis=2).cumsum(axis=0) > 0
    np.testing.assert_array_equal(record(envs, 40)[~ended], steps[~ended])


def test_setting_states_restarts_the_clock():
    envs = MuJoCoVectorEnv("HalfCheetah-v5", 1, max_episode_steps=10)
    envs.reset()
    record(envs, 9)
    envs.set_simulator_states(envs.simulator_states())
    assert not record(envs, 9)[:, :, -1].any()
    assert record(envs, 1)[:, :, -1].all()


def test_setting_states_keeps_physics_and_draws_pushes():
    envs = MuJoCoVectorEnv("Hopper-v5", 2, **DISTURBED)
    envs.reset()
    mass, pushes = envs.physics["mass"], envs.state_dict()["pushes"]["forces"]
    envs.set_simulator_states(envs.simulator_states())
    np.testing.assert_array_equal(envs.physics["mass"], mass)
    assert (envs.state_dict()["pushes"]["forces"] != pushes).all()


def test_physics_are_drawn_for_every_episode_and_world():
    envs = MuJoCoVectorEnv("Hopper-v5", 4, physics={"mass": (0.5, 1.5), "friction": (0.7, 1.3)}, max_episode_steps=5)
    envs.reset()
    before = envs.physics
    assert len(np.unique(before["mass"])) == 4
    record(envs, 4)
    np.testing.assert_array_equal(envs.physics["mass"], before["mass"])
    record(envs, 1)
    assert (envs.physics["mass"] != before["mass"]).all()
    assert ((envs.physics["friction"] >= 0.7) & (envs.physics["friction"] <= 1.3)).all()


def test_a_width_holds_for_episodes_that_start_under_it():
    envs = MuJoCoVectorEnv("Hopper-v5", 2, physics={"mass": (2.0, 2.0)}, pushes=Pushes(20.0, 0.1), max_episode_steps=5)
    envs.reset()
    envs.width = 0.5
    record(envs, 4)
    assert envs.physics["mass"].tolist() == [2.0, 2.0]
    record(envs, 1)
    assert envs.physics["mass"].tolist() == [1.5, 1.5]


def test_pushes_of_half_width_are_those_of_half_the_deviation():
    narrow, weak = (MuJoCoVectorEnv("Hopper-v5", 2, seed=3, pushes=Pushes(std, 0.1)) for std in (40.0, 20.0))
    narrow.width = 0.5
    for envs in (narrow, weak):
        envs.reset()
    np.testing.assert_array_equal(record(narrow), record(weak))


def test_saved_widths_resume_bit_for_bit():
    source, restored = (MuJoCoVectorEnv("Hopper-v5", 2, **DISTURBED) for _ in range(2))
    source.width = 0.3
    for envs in (source, restored):
        envs.reset()
    record(source, 5)
    restored.load_state_dict(source.state_dict())
    np.testing.assert_array_equal(record(source, 8), record(restored, 8))  # no episode ends


def test_pushes_are_forces_on_the_pushed_body():
    """Worlds with pushes move exactly as worlds to which the same forces are given."""
    pushed = MuJoCoVectorEnv("HalfCheetah-v5", 2, pushes=DISTURBED["pushes"])
    given, calm = MuJoCoVectorEnv("HalfCheetah-v5", 2), MuJoCoVectorEnv("HalfCheetah-v5", 2)
    for envs in (pushed, given, calm):
        envs.reset()
    for _ in range(50):
        observations = pushed.step(np.zeros((2, 6)))[0]
        forces = np.zeros((2, 1, 3))
        forces[:, 0, 0] = pushed.state_dict()["pushes"]["forces"]
        np.testing.assert_array_equal(given.step(np.zeros((2, 6)), forces)[0], observations)
        assert not np.array_equal(calm.step(np.zeros((2, 6)))[0], observations)


def test_pushes_add_to_forces():
    pushes = Pushes(force_std=20.0, redraw_probability=0.0)
    both, given = MuJoCoVectorEnv("Swimmer-v5", 1, pushes=pushes), MuJoCoVectorEnv("Swimmer-v5", 1)
    both.reset()
    given.reset()
    push = np.array([[[both.state_dict()["pushes"]["forces"][0], 0.0, 0.0]]])
    force = np.array([[[3.0, -2.0, 1.0]]])
    np.testing.assert_array_equal(both.step(np.ones((1, 2)), force)[0], given.step(np.ones((1, 2)), force + push)[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("env_id", TASK_IDS)
def test_unstable_simulation_is_a_termination_that_is_told(env_id, in_tmp_path):
    envs = MuJoCoVectorEnv(env_id, 3)
    before, _ = envs.reset()
    forces = np.zeros((3, 1, 3))
    forces[1, 0] = 1e14, 1e14, 0.0
    observations, rewards, terminated, _, infos = envs.step(np.zeros(envs.action_space.shape), forces)
    np.testing.assert_array_equal(terminated, [False, True, False])
    np.testing.assert_array_equal(infos["unstable"], terminated)
    np.testing.assert_array_equal(infos["final_obs"][1], before[1])
    assert rewards[1] == 0.0
    assert np.isfinite(observations).all()
    assert np.isfinite(rewards).all()
    assert "unstable" not in envs.step(np.zeros(envs.action_space.shape))[-1]


def test_returned_arrays_are_not_overwritten_later():
    envs = MuJoCoVectorEnv("Hopper-v5", 2)
    observations, _ = envs.reset()
    kept = observations.copy()
    states = envs.simulator_states()
    kept_states = states.copy()
    envs.step(np.ones((2, 3)))
    np.testing.assert_array_equal(observations, kept)
    np.testing.assert_array_equal(states, kept_states)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "`num_envs` must be at least 1, got 0"),
        ({"num_threads": 0}, "`num_threads` must be at least 1, got 0"),
        ({"max_episode_steps": 0}, "`max_episode_steps` must be at least 1, got 0"),
        ({"physics": {"wind": (0.5, 1.5)}}, r"`physics` of Hopper-v5 may change .*'mass'.*got \['wind'\]"),
        *(({"physics": {"mass": bounds}}, "0 < low <= high < inf") for bounds in NO_RANGES),
        ({"env_id": "Swimmer-v5", "physics": {"friction": (0.5, 1.5)}}, r"may change \['gear', 'mass'\]"),
        ({"env_kwargs": {"speed": 1.0}}, r"`env_kwargs` of Hopper-v5 may hold .*got \['speed'\]"),
    ],
)
def test_inadmissible_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MuJoCoVectorEnv(**({"env_id": "Hopper-v5", "num_envs": 2} | arguments))


def test_inputs_of_the_wrong_shape_or_not_finite_are_named():
    envs = MuJoCoVectorEnv("Hopper-v5", 2)
    envs.reset()
    with pytest.raises(ValueError, match=r"`actions` must have shape \[2, 3\], got \[2, 2\]"):
        envs.step(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"`forces` must have shape \[2, 1, 3\], got \[2, 3\]"):
        envs.step(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`actions` must be finite"):
        envs.step(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"`states` must have shape \[2, 12\], got \[1, 12\]"):
        envs.set_simulator_states(np.zeros((1, 12)))
    with pytest.raises(ValueError, match="`options` must be empty"):
        envs.reset(options={"reset_mask": True})


def test_step_before_reset_raises():
    with pytest.raises(gymnasium.error.ResetNeeded, match="Call `reset`"):
        MuJoCoVectorEnv("Hopper-v5", 2).step(np.zeros((2, 3)))
