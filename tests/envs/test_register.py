"""A task of one's own is usable wherever a shipped one is."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rrl.data import RolloutDataModule
from rrl.envs import TASKS, AdversaryBodies, MuJoCoVectorEnv, NoisyTask, Outcome, Pushes, register_task
from rrl.envs.bodies import TASK_BODIES
from rrl.evaluation.attacks.strongest import Battle
from rrl.evaluation.cells.evaluate import evaluate_cells
from rrl.evaluation.cells.suites import load_suite
from rrl.evaluation.episodes import Trial
from tests.evaluation.row_policies import linear_policy

pytestmark = pytest.mark.mujoco
ENV_ID = "rrl-test/Cart-v0"
XML = """
<mujoco>
  <option timestep="0.02"/>
  <worldbody>
    <body name="cart">
      <joint name="slider" type="slide" axis="1 0 0" damping="0.1"/>
      <geom size="0.1" mass="1" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator><motor joint="slider" ctrlrange="-1 1" gear="5"/></actuator>
  <sensor><framelinacc objtype="body" objname="cart"/></sensor>
</mujoco>
"""


def cart_class(path):
    @dataclass(frozen=True, kw_only=True)
    class Cart(NoisyTask):
        """Stay at 0."""

        env_id = ENV_ID
        model_file = str(path)
        pushed = "cart"
        max_episode_steps = 25
        fields: ClassVar[tuple[str, ...]] = ("sensordata",)
        frame_skip: int = 2
        reset_noise_scale: float = 0.5

        def observe(self, worlds):
            return np.concatenate([worlds.positions, worlds.velocities, worlds.more["sensordata"][:, :1]], axis=1)

        def outcome(self, worlds, actions, x_velocities):
            return Outcome(-np.abs(worlds.positions[:, 0]), np.abs(worlds.positions[:, 0]) > 2.0)

    return Cart


@pytest.fixture
def cart(tmp_path):
    (tmp_path / "cart.xml").write_text(XML)
    yield register_task(cart_class(tmp_path / "cart.xml"))
    del TASKS[ENV_ID], TASK_BODIES[ENV_ID], gymnasium.registry[ENV_ID]


def test_it_trains_with_pushes_random_physics_and_an_adversary(cart):
    data = RolloutDataModule(
        ENV_ID,
        pushes=Pushes(force_std=1.0, redraw_probability=0.1),
        physics={"mass": (0.5, 1.5)},
        adversary=AdversaryBodies(bodies=["cart"], axes="x"),
    )
    assert (data.spaces.obs_dim, data.spaces.action_dim, data.spaces.adversary_dim) == (3, 1, 1)
    assert data.spaces.step_seconds == pytest.approx(0.04)


def test_physics_that_it_does_not_feel_are_refused(cart):
    with pytest.raises(ValueError, match=r"may change \['damping', 'gear', 'gravity', 'mass'\].*friction"):
        MuJoCoVectorEnv(ENV_ID, 1, physics={"friction": (0.5, 1.5)})


def test_it_is_put_through_suites_and_attacked(cart):
    trial = Trial(ENV_ID, 2, adversary=AdversaryBodies(bodies=["cart"], axes="x"))
    suite = load_suite("general", trial)
    rows = {row.cell: row for row in evaluate_cells(linear_policy(3, 1), trial, suite.cells)}
    assert suite.notes == (f"{ENV_ID} cannot have, and was not put through: friction.",)
    assert rows["mass: mass 0.5"].return_mean != rows["nominal"].return_mean
    battle = Battle(linear_policy(3, 1), trial, 50.0)
    pushed, _ = battle.fight(lambda shape, seed: lambda observations, starts: np.ones(shape), 0)
    assert pushed.failed.all()


@pytest.mark.filterwarnings("ignore:.*Box observation space m")
def test_a_single_world_of_it_is_an_environment_of_gymnasium(cart):
    env = gymnasium.make(ENV_ID, reset_noise_scale=0.1)
    check_env(env.unwrapped, skip_render_check=True)
    single, _ = env.reset(seed=3)
    native = MuJoCoVectorEnv(ENV_ID, 1, env_kwargs={"reset_noise_scale": 0.1})
    native.reset()
    native.set_simulator_states(single[None, :2])
    for _ in range(5):
        action = np.array([0.3], dtype=np.float32)
        observation, reward, *_ = env.step(action)
        ours = native.step(action[None])
        np.testing.assert_array_equal(ours[0][0], observation)
        assert ours[1][0] == reward


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pushed", "", "`pushed` of the task Cart must be given"),
        ("env_id", "Hopper-v5", "must not be that of a shipped task, got Hopper-v5"),
        ("model_file", "cart.xml", "`model_file` of the task Cart must be an absolute path, got cart.xml"),
    ],
)
def test_what_a_task_lacks_is_named(tmp_path, name, value, message):
    task = cart_class(tmp_path / "cart.xml")
    setattr(task, name, value)
    with pytest.raises(ValueError, match=message):
        register_task(task)


def test_fields_that_the_simulator_has_not_are_named(tmp_path):
    (tmp_path / "cart.xml").write_text(XML)
    task = cart_class(tmp_path / "cart.xml")
    task.fields = ("sensor_data",)
    register_task(task)
    with pytest.raises(ValueError, match="`fields` of a task must name arrays of mjData, got 'sensor_data'"):
        MuJoCoVectorEnv(ENV_ID, 1)
    del TASKS[ENV_ID], TASK_BODIES[ENV_ID], gymnasium.registry[ENV_ID]
