import mujoco
import pytest

from rrl.envs.tasks import make_task
from rrl.evaluation.cells.conditions import PARAMETERS, Condition, Parameter


def test_settings_that_change_nothing_are_no_effective_ones():
    values = {"mass": 1.0, "friction of floor": 1.0, "observation_noise": 0.0, "action_delay": 0, "reset_noise": 1.0}
    assert Condition.of(values | {"push_step": 0.0}).effective == Condition()
    assert Condition.of({"mass": 1.0, "gear": 0.5}).effective == Condition.of({"gear": 0.5})


def test_absolute_values_are_always_effective():
    condition = Condition.of({"absolute mass of torso": 1.0})
    assert condition.effective == condition


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, "nominal"),
        ({"mass": 1.0}, "physics"),
        ({"mass": 1.0, "action_delay": 1}, "noise"),
        ({"push_impulse": 1.0, "observation_noise": 0.1}, "push"),
    ],
)
def test_kind_is_the_most_intrusive_one(values, kind):
    assert Condition.of(values).kind == kind


def test_parameter_without_setting_has_its_nominal_value():
    condition = Condition.of({"push_step": -3.0})
    assert (condition.value("push_step"), condition.value("push_random"), condition.value("reset_noise")) == (-3, 0, 1)


def test_every_parameter_has_a_name_that_can_be_read():
    assert [Parameter.parse(name).name for name in PARAMETERS] == list(PARAMETERS)


def test_scale_of_the_initial_state_is_a_factor_or_absolute():
    task = make_task("Hopper-v5")
    assert Condition.of({"reset_noise": 4.0}).reset_noise_scale(task) == pytest.approx(0.02)
    assert Condition.of({"absolute reset_noise": 0.1}).reset_noise_scale(task) == 0.1
    assert Condition.of({"mass": 2.0}).reset_noise_scale(task) is None


def test_scale_of_the_initial_state_of_a_task_without_one_raises():
    with pytest.raises(ValueError, match="`reset_noise` has no effect on Reacher-v5"):
        Condition.of({"reset_noise": 2.0}).reset_noise_scale(make_task("Reacher-v5"))


def test_noise_leaves_the_model():
    model = mujoco.MjModel.from_xml_path(str(make_task("Hopper-v5").model_path))
    fields = Condition.of({"observation_noise": 0.1, "push_step": 3.0}).fields(model, "Hopper-v5")
    assert (dict(fields.refreshed), dict(fields.raw)) == ({}, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mas": 1.0}, "There is no parameter 'mas'; did you mean 'mass'?"),
        ({"wind": 1.0}, "There is no parameter 'wind'; there are mass, .*push_random"),
        ({"action_delay of torso": 1.0}, "`action_delay` can be neither absolute nor of a part"),
        ({"absolute push_step": 1.0}, "`push_step` can be neither absolute nor of a part"),
        ({"mass": float("nan")}, "`mass` must be finite, got nan"),
        ({"observation_noise": -0.1}, "`observation_noise` must not be negative, got -0.1"),
        ({"action_delay": 1.5}, "`action_delay` must be a whole number of environment steps, got 1.5"),
    ],
)
def test_inadmissible_settings_raise_one_sentence(values, message):
    with pytest.raises(ValueError, match=message):
        Condition.of(values)
