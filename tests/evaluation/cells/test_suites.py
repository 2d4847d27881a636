import numpy as np
import pytest

import tests.environments  # noqa: F401  (registers the toys)
from rrl.envs import TASKS
from rrl.evaluation.cells.suites import load_suite, suite_names
from rrl.evaluation.episodes import Trial

CLAIMED = {
    "fraction": sorted(TASKS),
    "general": sorted(TASKS),
    "quick": sorted(TASKS),
    "adrrl-paper": ["HalfCheetah-v5", "Hopper-v5", "InvertedPendulum-v5", "Reacher-v5", "Walker2d-v5"],
    "rarl-paper": ["HalfCheetah-v5", "Hopper-v5", "InvertedPendulum-v5", "Swimmer-v5", "Walker2d-v5"],
    "rap": ["Hopper-v5"],
    "rrls": ["Ant-v5", "HalfCheetah-v5", "Hopper-v5", "HumanoidStandup-v5", "InvertedPendulum-v5", "Walker2d-v5"],
    "m2td3": ["Ant-v5", "HalfCheetah-v5", "Hopper-v5", "HumanoidStandup-v5", "InvertedPendulum-v5", "Walker2d-v5"],
    "rrls-3d": ["Ant-v5", "HalfCheetah-v5", "Hopper-v5", "HumanoidStandup-v5", "Walker2d-v5"],
    "m2td3-3d": ["Ant-v5", "HalfCheetah-v5", "Hopper-v5", "HumanoidStandup-v5", "Walker2d-v5"],
}


@pytest.fixture
def write_suite(tmp_path):
    def write(text: str):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def sweep(name: str, env_id: str, suite: str) -> list:
    return [cell for cell in load_suite(suite, Trial(env_id, 1)).cells if cell.sweep == name]


def test_every_shipped_suite_is_tested_here():
    assert suite_names() == sorted([*CLAIMED, "nominal"])


@pytest.mark.parametrize(("suite", "env_id"), [(suite, env_id) for suite, ids in CLAIMED.items() for env_id in ids])
def test_shipped_suites_load_for_every_task_that_they_claim(suite, env_id):
    cells = load_suite(suite, Trial(env_id, 1)).cells
    assert len(cells) > 1
    assert len({cell.name for cell in cells}) == len(cells)
    assert cells[0].place.kind == "nominal"
    assert {cell.place.kind for cell in cells[1:]} <= {"physics", "noise", "push"}


@pytest.mark.parametrize("suite", sorted(CLAIMED))
def test_shipped_suites_refuse_tasks_that_they_do_not_claim(suite):
    for env_id in sorted(set(TASKS) - set(CLAIMED[suite])):
        with pytest.raises(ValueError, match=f"In the suite '{suite}': it has no sweep for {env_id}"):
            load_suite(suite, Trial(env_id, 1))


def test_grid_of_fractions_has_121_cells_with_the_nominal_one_in_the_middle():
    grid = sweep("mass x friction", "Hopper-v5", "fraction")
    assert len(grid) == 121
    assert grid[60].axes == (("mass", 1.0), ("friction", 1.0))
    assert grid[60].place.kind == "physics"


def test_published_sets_have_either_end():
    ends = {suite: sweep("1-D set", "Hopper-v5", suite)[-1].axes[0][1] for suite in ("rrls", "m2td3")}
    assert ends == {"rrls": 2.71, "m2td3": 3.0}
    assert len(sweep("2-D set", "Hopper-v5", "rrls")) == 100


def test_sets_of_three_dimensions_have_1000_cells():
    cells = sweep("3-D set", "Walker2d-v5", "rrls-3d")
    assert len(cells) == 1000
    assert len(cells[0].axes) == 3


def test_published_kilograms_are_ratios_to_the_published_nominal_mass():
    masses = [cell.axes[0][1] for cell in sweep("torso mass", "Hopper-v5", "adrrl-paper")]
    np.testing.assert_allclose([masses[0], masses[-1]], [0.5 / 3.53, 4.7 / 3.53])
    assert len(masses) == 50


def test_sweeps_of_the_floor_alone_carry_a_note():
    assert len(load_suite("rrls", Trial("Hopper-v5", 1)).notes) == 1
    assert load_suite("fraction", Trial("Hopper-v5", 1)).notes == ()


def test_cells_can_be_listed_one_by_one():
    holdouts = sweep("hold-outs", "Hopper-v5", "rap")
    assert len(holdouts) == 8
    assert holdouts[0].axes == ()
    friction = {parameter.parts: value for parameter, value in holdouts[0].condition.settings}
    assert friction == {("torso_geom", "leg_geom"): 1.3, ("floor", "thigh_geom", "foot_geom"): 0.7}


def test_adversarial_tasks_have_the_suite_of_the_task_below():
    assert len(load_suite("quick", Trial("rrl/Hopper6Adv-v1", 1)).cells) == len(
        load_suite("quick", Trial("Hopper-v5", 1)).cells
    )


def test_any_environment_has_the_nominal_suite():
    assert [cell.place.kind for cell in load_suite("nominal", Trial("toy/Pusher-v0", 1)).cells] == ["nominal"]


def test_sweeps_without_tasks_are_for_every_environment():
    sweeps = [cell.sweep for cell in load_suite("quick", Trial("toy/Pusher-v0", 1)).cells]
    assert sweeps == ["nominal", "observation noise", "observation noise"]


def test_what_an_environment_cannot_have_is_left_out_of_sweeps_that_allow_it_and_noted(write_suite):
    heavy = "{name: heavy, if_possible: true, axes: [{parameter: mass, values: [2]}]}"
    late = "{name: late, axes: [{parameter: action_delay, values: [2]}]}"
    suite = load_suite(write_suite(f"sweeps: [{heavy}, {late}]"), Trial("Pendulum-v1", 1))
    assert [cell.sweep for cell in suite.cells] == ["nominal", "late"]
    assert suite.notes == ("Pendulum-v1 cannot have, and was not put through: heavy.",)


@pytest.mark.parametrize(
    ("trial", "setting", "message"),
    [
        (Trial("Pendulum-v1", 1), "mass", "it can have observation_noise, action_noise, action_delay"),
        (Trial("toy/Pusher-v0", 1), "frictionloss", "can change in mass, mass_only"),
        (Trial("toy/Pusher-v0", 1), "mass of torso", "has the parts .*tips_arm.*, got 'torso'"),
        (Trial("toy/Pusher-v0", 1), "floor_friction", "needs a geom named 'floor', toy/Pusher-v0 has none"),
        (Trial("toy/Pusher-v0", 1), "push_step", "`push_body` must name the body of toy/Pusher-v0"),
        (
            Trial("toy/Pusher-v0", 1, push_body="torso"),
            "push_step",
            "`push_body` must be among .*tips_arm.*got 'torso'",
        ),
        (Trial("Pendulum-v1", 1, push_body="pole"), "push_step", "`push_body` needs a MuJoCo environment"),
        (Trial("toy/Pusher-v0", 1), "reset_noise", "`reset_noise` has no effect on toy/Pusher-v0; it can have mass"),
    ],
)
def test_what_an_environment_cannot_have_is_refused_with_what_it_can(write_suite, trial, setting, message):
    path = write_suite(f"sweeps: [{{name: a, axes: [{{parameter: {setting}, values: [2]}}]}}]")
    with pytest.raises(ValueError, match=message):
        load_suite(path, trial)


def test_suites_are_read_from_any_file(write_suite):
    path = write_suite("sweeps:\n- name: heavy\n  axes: [{parameter: mass, values: [2]}]\n")
    suite = load_suite(path, Trial("Hopper-v5", 1))
    assert suite.name == "mine"
    assert [cell.name for cell in suite.cells] == ["nominal", "heavy: mass 2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweeps: [", "is not valid YAML"),
        ("grids: []", "must hold a list `sweeps` and nothing else"),
        ("sweeps: []", "it has no sweep for Hopper-v5"),
        ("sweeps: [mass]", "a sweep must have a `name`, got 'mass'"),
        ("sweeps: [{name: a, axis: []}]", "may hold .*got \\['axis'\\]; did you mean 'axes'?"),
        ("sweeps: [{name: a}]", "the sweep 'a' needs either `axes` or `cells`"),
        ("sweeps: [{name: a, axes: []}]", "the sweep 'a' is empty"),
        ("sweeps: [{name: a, cells: {}}]", "the sweep 'a' is empty"),
        ("sweeps: [{name: a, axes: {mass: 1}}]", "`axes` of the sweep 'a' must be a list of mappings"),
        ("sweeps: [{name: a, cells: [1]}]", "`cells` of the sweep 'a' must map names to settings"),
        ("sweeps: [{name: a, cells: {b: {mass: heavy}}}]", "`cells` of the sweep 'a' must map names to settings"),
        ("sweeps: [{name: a, tasks: [Hoper-v5], axes: []}]", "must be for tasks among .*got \\['Hoper-v5'\\]"),
        ("sweeps: [{name: a, tasks: Hopper-v5, axes: []}]", "`tasks` of the sweep 'a' must be a list"),
        ("sweeps: [{name: a, axes: [{parameter: mass, values: [-1]}]}]", "`mass` must not be negative, got -1"),
        ("sweeps: [{name: a, axes: [{parameter: mass, values: [.nan]}]}]", "needs finite values"),
        ("sweeps: [{name: a, axes: [{parameter: mass, values: [0]}]}]", "`mass` must be positive and finite"),
        ("sweeps: [{name: a, axes: [{parameter: mass of tail, values: [2]}]}]", "has the parts .*got 'tail'"),
        ("sweeps: [{name: a, axes: [{parameter: mass, values: [2, 2]}]}]", "the cell 'a: mass 2' occurs twice"),
    ],
)
def test_bad_suites_raise_one_sentence(write_suite, text, message):
    with pytest.raises(ValueError, match=message) as error:
        load_suite(write_suite(text), Trial("Hopper-v5", 1))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fractions", "There is no suite 'fractions'; did you mean 'fraction'?"),
        ("xyz", "There is no suite 'xyz'; there are .*nominal.*, or YAML files"),
        ("missing.yaml", "There is no suite 'missing.yaml'"),
    ],
)
def test_missing_suites_are_named(name, message):
    with pytest.raises(ValueError, match=message):
        load_suite(name, Trial("Hopper-v5", 1))
