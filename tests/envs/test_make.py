import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode

import tests.environments  # noqa: F401  (registers the toys)
from rrl.envs import AdversaryBodies, MuJoCoVectorEnv, Pushes, make_vec_env

COUNTER_ID = "rrl-test/Counter-v0"


class Counter(gymnasium.Env):
    """Observes the number of its step and a random number of its episode; ends after ``length`` steps."""

    observation_space = Box(-np.inf, np.inf, (2,), dtype=np.float64)
    action_space = Box(-1.0, 1.0, (1,))

    def __init__(self, length: int = 3) -> None:
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.tag = 0, self.np_random.random()
        return np.array([0.0, self.tag]), {}

    def step(self, action):
        self.count += 1
        return np.array([float(self.count), self.tag]), 1.0, self.count >= self.length, False, {}


@pytest.fixture(autouse=True)
def counter():
    gymnasium.register(COUNTER_ID, entry_point=Counter, max_episode_steps=100)
    yield
    gymnasium.registry.pop(COUNTER_ID)


@pytest.mark.filterwarnings("ignore")  # of Gymnasium's own checker, which goes on
@pytest.mark.parametrize(
    ("first", "said"),
    [
        (np.zeros(3), r"Counter-v0 returns observations of the shape \[3\], its observation space says \[2\]"),
        (None, r"Counter-v0 cannot be reset \(KeyError"),
    ],
)
def test_first_observation_that_is_none_of_the_space_is_said_of_the_environment(first, said, monkeypatch):
    def reset(self, *, seed=None, options=None):
        return (first, {}) if first is not None else {}["missing"]

    monkeypatch.setattr(Counter, "reset", reset)
    with pytest.raises(ValueError, match=said):
        make_vec_env(COUNTER_ID, 2)


@pytest.mark.mujoco
def test_tasks_are_native_and_receive_every_argument():
    pushes = Pushes(force_std=1.0, redraw_probability=0.1)
    arguments = {"seed": 3, "first_world": 2, "max_episode_steps": 7, "env_kwargs": {"healthy_reward": 2.0}}
    made = make_vec_env("Hopper-v5", 2, pushes=pushes, physics={"mass": (0.5, 0.6)}, **arguments)
    direct = MuJoCoVectorEnv("Hopper-v5", 2, pushes=pushes, physics={"mass": (0.5, 0.6)}, **arguments)
    assert isinstance(made, MuJoCoVectorEnv)
    np.testing.assert_array_equal(made.reset()[0], direct.reset()[0])
    for _ in range(10):
        for one, other in zip(made.step(np.zeros((2, 3)))[:4], direct.step(np.zeros((2, 3)))[:4], strict=True):
            np.testing.assert_array_equal(one, other)


def test_other_environments_reset_in_the_same_step_and_keep_the_last_observation():
    envs = make_vec_env(COUNTER_ID, 2, env_kwargs={"length": 2})
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    first, _ = envs.reset()
    assert "final_obs" not in envs.step(np.zeros((2, 1)))[-1]
    observations, _, terminated, truncated, infos = envs.step(np.zeros((2, 1)))
    assert terminated.all()
    assert not truncated.any()
    assert infos["final_obs"].dtype == np.float64
    np.testing.assert_array_equal(infos["final_obs"], np.column_stack([[2.0, 2.0], first[:, 1]]))
    np.testing.assert_array_equal(infos["_final_obs"], [True, True])
    np.testing.assert_array_equal(observations[:, 0], [0.0, 0.0])


class OneArray(Counter):
    """Writes every observation to the same array."""

    array = np.zeros(2)

    def reset(self, *, seed=None, options=None):
        self.array[:], infos = super().reset(seed=seed)
        return self.array, infos

    def step(self, action):
        self.array[:], *rest = super().step(action)
        return self.array, *rest


@pytest.mark.filterwarnings("ignore:.*share an object")
def test_environments_that_reuse_their_array_keep_the_last_observation_too():
    gymnasium.registry[COUNTER_ID].entry_point = OneArray
    envs = make_vec_env(COUNTER_ID, 1, env_kwargs={"length": 1})
    first, _ = envs.reset()
    observations, *_, infos = envs.step(np.zeros((1, 1)))
    np.testing.assert_array_equal(infos["final_obs"], [[1.0, first[0, 1]]])
    assert observations[0, 0] == 0.0


def test_other_environments_do_not_depend_on_how_they_are_split():
    whole, _ = make_vec_env(COUNTER_ID, 3, seed=5).reset()
    last, _ = make_vec_env(COUNTER_ID, 1, seed=5, first_world=2).reset()
    np.testing.assert_array_equal(whole[2:], last)


def test_other_environments_are_seeded_once():
    envs = make_vec_env(COUNTER_ID, 2, seed=5)
    first, second, again = envs.reset()[0], envs.reset()[0], envs.reset(seed=5)[0]
    assert (first[:, 1] != second[:, 1]).all()
    np.testing.assert_array_equal(first, again)


def test_time_limit_of_other_environments():
    envs = make_vec_env(COUNTER_ID, 1, max_episode_steps=2)
    envs.reset()
    ends = [(bool(row[2][0]), bool(row[3][0])) for row in (envs.step(np.zeros((1, 1))) for _ in range(2))]
    assert ends == [(False, False), (False, True)]


def test_an_environment_without_a_time_limit_needs_one():
    gymnasium.registry[COUNTER_ID].max_episode_steps = None
    with pytest.raises(ValueError, match=r"`max_episode_steps` must be given: rrl-test/Counter-v0 has no time limit"):
        make_vec_env(COUNTER_ID, 1)


class Strict(Counter):
    """Takes only what lies in its box of whole or real numbers."""

    action_space = Box(-0.3, 0.3, (1,), np.float64)

    def step(self, action):
        assert self.action_space.contains(action), action
        return super().step(action)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_actions_have_the_type_of_the_space_and_lie_in_its_box(dtype, given):
    gymnasium.registry[COUNTER_ID].entry_point = Strict
    Strict.action_space = Box(-0.3, 0.3, (1,), dtype)
    envs = make_vec_env(COUNTER_ID, 2, env_kwargs={"length": 9})
    envs.reset()
    for action in (0.3, -7.0, 0.1):
        observations, *_ = envs.step(np.full((2, 1), action, dtype=given))
    assert observations[:, 0].tolist() == [3.0, 3.0]  # none was refused


def test_whole_numbers_as_actions_are_refused():
    gymnasium.registry[COUNTER_ID].entry_point = Strict
    Strict.action_space = Box(-3, 3, (1,), np.int64)
    with pytest.raises(ValueError, match="The action space of rrl-test/Counter-v0 must hold real numbers, got Box"):
        make_vec_env(COUNTER_ID, 1)


@pytest.mark.mujoco
@pytest.mark.parametrize("env_id", ["toy/Pusher-v0", "Hopper-v5"])
def test_an_adversary_pushes_named_bodies_of_any_mujoco_environment(env_id):
    body = "tips_arm" if env_id == "toy/Pusher-v0" else "foot"
    ends = []
    for share in (0.0, 1.0):
        envs = make_vec_env(env_id, 1, adversary=AdversaryBodies(bodies=[body], axes="x"), force_limit=30.0)
        assert envs.adversary_dim == 1
        envs.reset(seed=1)
        actions = np.zeros((1, *envs.single_action_space.shape), dtype=np.float32)
        for _ in range(3):
            observations, *_ = envs.step(actions, envs.adversary_forces(np.array([[share]])))
        ends.append(observations)
        envs.close()
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


def failing() -> None:
    raise AssertionError


def test_an_environment_that_fails_as_it_is_made_is_named():
    gymnasium.registry[COUNTER_ID].entry_point = failing
    with pytest.raises(ValueError, match=rf"`env_id` {COUNTER_ID} cannot be made \(AssertionError\)\."):
        make_vec_env(COUNTER_ID, 1)


def test_an_adversary_needs_a_simulator():
    with pytest.raises(ValueError, match="`adversary` needs a MuJoCo environment, got "):
        make_vec_env(COUNTER_ID, 1, adversary=AdversaryBodies(bodies=["torso"]))


@pytest.mark.parametrize("settings", [{"bodies": []}, {"bodies": ["a", "a"]}, {"bodies": "torso"}])
def test_bodies_of_an_adversary_differ(settings):
    with pytest.raises(ValueError, match="`bodies` must name at least one body, each once"):
        AdversaryBodies(**settings)


@pytest.mark.mujoco
def test_other_mujoco_environments_work():
    envs = make_vec_env("toy/Pusher-v0", 2)
    observations, _ = envs.reset()
    assert envs.step(np.zeros(envs.action_space.shape))[0].shape == observations.shape
    envs.close()


@pytest.mark.parametrize("disturbance", [{"pushes": Pushes(1.0, 0.1)}, {"physics": {"mass": (0.5, 1.5)}}])
def test_disturbances_of_other_environments_raise(disturbance):
    with pytest.raises(ValueError, match="`pushes` and `physics` need one of the tasks"):
        make_vec_env(COUNTER_ID, 2, **disturbance)


@pytest.mark.parametrize(("env_id", "space"), [("CartPole-v1", "action"), ("FrozenLake-v1", "observation")])
def test_spaces_that_are_no_flat_box_raise(env_id, space):
    with pytest.raises(ValueError, match=f"The {space} space of {env_id} must be a flat Box, got Discrete"):
        make_vec_env(env_id, 2)


@pytest.mark.parametrize("env_id", ["Nonsense-v0", "Hopper-v99"])
def test_unknown_environment_is_named(env_id):
    with pytest.raises(ValueError, match=f"`env_id` must be a registered environment, got '{env_id}'"):
        make_vec_env(env_id, 2)
