"""Environments that Gymnasium steps meet the same conditions as native ones, with everything written out here."""

import gymnasium
import mujoco
import numpy as np
import pytest

from rrl.envs.physics import edit_model
from rrl.envs.simulation import ModelFields
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.disturbances import EpisodeDraws
from rrl.evaluation.cells.episode_queue import EpisodeQueue
from rrl.evaluation.episodes import Trial
from rrl.random_streams import Purpose, derived_seed
from tests.evaluation.row_policies import linear_policy

pytestmark = pytest.mark.mujoco

ENV_ID = "rrl-test/Hopper-v0"
POLICY = linear_policy(11, 3)
STEPS = 60


@pytest.fixture(autouse=True)
def hopper():
    entry_point = "gymnasium.envs.mujoco.hopper_v5:HopperEnv"
    gymnasium.register(ENV_ID, entry_point=entry_point, kwargs={"healthy_z_range": (-9.0, 9.0)})
    yield
    gymnasium.registry.pop(ENV_ID)


def trial(num_episodes=2, **settings) -> Trial:
    wide = {"healthy_angle_range": (-9.0, 9.0), "healthy_z_range": (-9.0, 9.0)}
    return Trial(ENV_ID, num_episodes, 5, wide, max_episode_steps=STEPS, push_body="torso", **settings)


def totals(conditions, **options):
    found = EpisodeQueue(trial(), [Condition.of(values) for values in conditions], **options).run(POLICY)
    return {(episode.condition, episode.number): episode.total for episode in found}


def written_out(edit=None, *, noise=0.0, shake=0.0, delay=0, push=0.0, reset_noise=5e-3):
    """Returns of the same two episodes, one after the other."""
    env = gymnasium.make(ENV_ID, max_episode_steps=STEPS, reset_noise_scale=reset_noise, **trial().env_kwargs)
    model, data = env.unwrapped.model, env.unwrapped.data
    if edit is not None:
        edit(model)
    draws = EpisodeDraws(5, 2, num_steps=STEPS, obs_dim=11, action_dim=3)
    returns = []
    for episode in range(2):
        observation, _ = env.reset(seed=derived_seed(Purpose.EPISODE_START, 5, episode, bits=31))
        chosen, total = [np.zeros(3)] * delay, 0.0
        for step in range(STEPS):
            seen = observation + noise * draws.observation_noise[episode, step]
            chosen.append(np.clip(POLICY(seen[None])[0], -1.0, 1.0))
            executed = np.clip(chosen[step] + shake * draws.action_noise[episode, step], -1.0, 1.0)
            data.xfrc_applied[model.body("torso").id, 0] = push if step >= draws.push_times[episode] else 0.0
            observation, reward, terminated, truncated, _ = env.step(executed.astype(np.float32))
            total += float(reward)
            assert not terminated
        assert truncated
        returns.append(total)
    return returns


def heavier(model):
    model.body_mass[:] *= 1.5
    model.body_inertia[:] *= 1.5
    mujoco.mj_setConst(model, mujoco.MjData(model))


def slippery(model):
    model.geom_friction[:] *= 0.1
    mujoco.mj_setConst(model, mujoco.MjData(model))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"mass": 1.5}, {"edit": heavier}),
        ({"friction": 0.1}, {"edit": slippery}),
        ({"observation_noise": 0.1}, {"noise": 0.1}),
        ({"action_noise": 0.2}, {"shake": 0.2}),
        ({"action_delay": 2}, {"delay": 2}),
        ({"push_step": 30.0}, {"push": 30.0}),
        ({"reset_noise": 10.0}, {"reset_noise": 5e-2}),
    ],
)
def test_a_condition_does_what_it_says(values, expected):
    # Another condition before it in the same world leaves nothing behind.
    found = totals([{"mass": 2.0, "gravity": 0.5}, values], num_worlds=1)
    assert [found[1, 0], found[1, 1]] == written_out(**expected)


def test_episodes_do_not_depend_on_the_worlds_that_share_them():
    conditions = [{}, {"mass": 1.5}, {"mass_only": 0.5, "push_random": 20.0}]
    assert totals(conditions, num_worlds=1) == totals(conditions, num_worlds=4)


def test_a_model_is_nominal_again_to_the_last_bit():
    nominal = gymnasium.make("Ant-v5").unwrapped.model
    model = gymnasium.make("Ant-v5").unwrapped.model
    change = Condition.of({"mass": 2.0, "gravity": 0.3, "damping": 3.0, "mass_only of torso": 9.0})
    edit_model(model, nominal, change.fields(nominal, "Ant-v5"))
    assert model.body("torso").mass != nominal.body("torso").mass
    edit_model(model, nominal, ModelFields())
    size = mujoco.mj_sizeModel(nominal)
    copies = [np.zeros(size, dtype=np.uint8) for _ in range(2)]
    for each, copy in zip((model, nominal), copies, strict=True):
        mujoco.mj_saveModel(each, None, copy)
    np.testing.assert_array_equal(*copies)


@pytest.mark.filterwarnings("ignore:.*not within the observation space", "ignore:.*NaN")
def test_numbers_that_are_not_finite_are_blamed_on_the_environment():
    class Broken(gymnasium.envs.mujoco.hopper_v5.HopperEnv):
        def step(self, action):
            observation, *rest = super().step(action)
            return observation * np.nan, *rest

    gymnasium.registry[ENV_ID].entry_point = Broken
    with pytest.raises(ValueError, match="rrl-test/Hopper-v0 gave an observation or a reward that is not finite"):
        totals([{}])
