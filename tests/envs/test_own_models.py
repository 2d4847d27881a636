"""A modified robot is stepped natively exactly where Gymnasium's own environment of that file does the same."""

import mujoco
import numpy as np
import pytest

from rrl.data import RolloutDataModule
from rrl.envs import MuJoCoVectorEnv, make_task
from tests.envs.reference import GymnasiumWorlds, assert_same_steps

pytestmark = pytest.mark.mujoco


@pytest.fixture
def modified(tmp_path):
    def write(env_id, edit) -> str:
        spec = mujoco.MjSpec.from_file(str(make_task(env_id).model_path))
        edit(spec)
        spec.compile()
        (tmp_path / "robot.xml").write_text(spec.to_xml())
        return str(tmp_path / "robot.xml")

    return write


def longer_and_heavier(spec):
    spec.geom("foot_geom").mass = 9.0
    spec.geom("thigh_geom").size[0] = 0.07


def with_an_arm(spec):
    arm = spec.body("torso").add_body(name="arm", pos=[0.0, 0.0, 0.2])
    arm.add_joint(name="shoulder", axis=[0, 1, 0], type=mujoco.mjtJoint.mjJNT_HINGE, damping=1.0, range=[-1, 1])
    arm.add_geom(size=[0.04, 0.2, 0.0], type=mujoco.mjtGeom.mjGEOM_CAPSULE)
    spec.add_actuator(
        name="shoulder",
        target="shoulder",
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        ctrlrange=[-1, 1],
        gear=[20, 0, 0, 0, 0, 0],
    )


@pytest.mark.parametrize("edit", [longer_and_heavier, with_an_arm])
def test_a_modified_hopper_is_stepped_as_gymnasium_does(modified, edit):
    options = {"xml_file": modified("Hopper-v5", edit)}
    native = MuJoCoVectorEnv("Hopper-v5", 2, env_kwargs=options)
    native.reset()
    worlds = GymnasiumWorlds(native, options)
    assert native.single_observation_space == worlds.envs[0].observation_space
    assert_same_steps(worlds, 100, bodies=[])
    low, _ = native.task.healthy_box
    assert low.shape == native.single_observation_space.shape


def test_worlds_of_a_modified_robot_train_with_pushes_physics_and_an_adversary(modified):
    from rrl.envs import AdversaryBodies, Pushes

    data = RolloutDataModule(
        "Hopper-v5",
        env_kwargs={"xml_file": modified("Hopper-v5", with_an_arm)},
        pushes=Pushes(force_std=5.0, redraw_probability=0.1),
        physics={"mass": (0.5, 1.5)},
        adversary=AdversaryBodies(bodies=["arm"]),
    )
    assert (data.spaces.obs_dim, data.spaces.action_dim, data.spaces.adversary_dim) == (13, 4, 2)


def without_goal(spec):
    spec.delete(spec.body("goal"))


def with_a_free_ball(spec):
    ball = spec.worldbody.add_body(name="ball", pos=[3, 0, 1])
    ball.add_freejoint()
    ball.add_geom(size=[0.1, 0, 0])


@pytest.mark.parametrize(
    ("env_id", "edit", "message"),
    [
        ("Pusher-v5", without_goal, r"does not fit Pusher-v5: the task cannot use it \(KeyError.*goal"),
        ("Reacher-v5", with_a_free_ball, "does not fit Reacher-v5: it is observed in another way"),
    ],
)
def test_a_model_to_which_the_task_does_not_apply_is_refused(modified, env_id, edit, message):
    path = modified(env_id, edit)
    with pytest.raises(ValueError, match=message) as error:
        make_task(env_id, {"xml_file": path})
    assert "Register an environment or a task of your own for it" in str(error.value)


def test_a_file_that_is_missing_or_no_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"`xml_file` of Hopper-v5 must exist, got .*nothing\.xml"):
        make_task("Hopper-v5", {"xml_file": str(tmp_path / "nothing.xml")})
    (tmp_path / "broken.xml").write_text("<mujoco>")
    with pytest.raises(ValueError, match="does not fit Hopper-v5: Gymnasium cannot make it"):
        make_task("Hopper-v5", {"xml_file": str(tmp_path / "broken.xml")})


def test_a_file_of_gymnasiums_own_can_be_named():
    task = make_task("Hopper-v5", {"xml_file": "hopper.xml"})
    np.testing.assert_equal(task.model_path.name, "hopper.xml")


def test_a_file_of_the_working_folder_is_found_by_its_bare_name(modified, tmp_path, monkeypatch):
    modified("Hopper-v5", longer_and_heavier)
    monkeypatch.chdir(tmp_path)
    assert make_task("Hopper-v5", {"xml_file": "robot.xml"}).model_path == tmp_path / "robot.xml"


def test_a_bare_name_that_is_also_gymnasiums_is_refused(modified, tmp_path, monkeypatch):
    modified("Hopper-v5", longer_and_heavier)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robot.xml").rename("hopper.xml")
    with pytest.raises(ValueError, match=r"a file of the working folder; write \./hopper\.xml for yours"):
        make_task("Hopper-v5", {"xml_file": "hopper.xml"})
    assert make_task("Hopper-v5", {"xml_file": "./hopper.xml"}).model_path.samefile(tmp_path / "hopper.xml")
