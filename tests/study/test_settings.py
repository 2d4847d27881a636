"""What a study may say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rrl.envs import AdversaryBodies
from rrl.evaluation.attacks.evaluate import AttackOptions
from rrl.study.settings import (
    Method,
    StudyEvaluation,
    StudySettings,
    Task,
    evaluation_settings,
    folder_name,
    seed_numbers,
    study_of_config,
)

METHODS, TASKS = {"a": Method(configs=["a.yaml"])}, {"t": Task(env_id="Hopper-v5")}


@pytest.mark.parametrize("seeds", ["", "3..1", "0,0", "1..", "a", "-1", [], [2, 2]])
def test_seeds_that_are_no_different_numbers_are_refused(seeds):
    with pytest.raises(ValueError, match="`seeds` must be"):
        seed_numbers(seeds)


def test_a_range_that_would_fill_the_memory_is_refused():
    with pytest.raises(ValueError, match=r"`seeds` must be at most 1000 numbers, got '0\.\.999999999'"):
        seed_numbers("0..999999999")


def test_seeds_are_a_range_a_list_or_both():
    assert seed_numbers("0..2,7") == (0, 1, 2, 7)
    assert seed_numbers("[3, 4]") == (3, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "`workers` must be at least 1"),
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"methods": {}}, "`methods` and `tasks` must each name at least one"),
        ({"baseline": "b"}, "`baseline` must be one of"),
        ({"curves": []}, "`curves` must name"),
        ({"tasks": {"a/b": Task(env_id="Hopper-v5")}}, "`tasks` must have names for folders"),
        ({"methods": {"A b": METHODS["a"], "a-B": METHODS["a"]}}, "`methods` must differ in more than their signs"),
    ],
)
def test_studies_that_cannot_run_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        StudySettings(**{"methods": METHODS, "tasks": TASKS, **changes})


def test_names_of_files_hold_no_signs():
    assert folder_name("RC-RARL / ours!") == "rc_rarl_ours"
    assert folder_name("+") == "method"


def test_a_single_configuration_is_a_study_of_one_method_judged_without_its_adversary():
    content = {"data": {"init_args": {"env_id": "rrl/Hopper6Adv-v1"}}}
    study = study_of_config(Path("conf/mine.yaml"), content)
    assert study["methods"] == {"mine": {"configs": ["conf/mine.yaml"]}}
    assert study["tasks"] == {"Hopper6Adv-v1": {"env_id": "Hopper-v5"}}
    content = {"data": {"init_args": {"env_id": "my_robots:Walker-v0"}}}
    assert study_of_config(Path("mine.yaml"), content)["tasks"] == {"Walker-v0": {"env_id": "my_robots:Walker-v0"}}
    with pytest.raises(ValueError, match="names no environment"):
        study_of_config(Path("conf/mine.yaml"), {"model": {}})


def test_a_study_of_an_environment_of_ones_own_keeps_the_module_that_registers_it():
    data = {"env_id": "mine:Mine-v0", "adversary": {"bodies": ["arm"]}, "num_envs": 4}
    study = study_of_config(Path("conf/mine.yaml"), {"model": {}, "data": {"init_args": data}})
    assert study["tasks"] == {"Mine-v0": {"env_id": "mine:Mine-v0", "adversary": {"bodies": ["arm"]}}}


def test_a_single_configuration_is_judged_in_the_worlds_that_it_names():
    xml, adversary = {"xml_file": "mine.xml"}, {"bodies": ["foot"]}
    data = {"env_id": "Hopper-v5", "env_kwargs": xml, "adversary": adversary, "max_episode_steps": 250}
    study = study_of_config(Path("mine.yaml"), {"data": {"init_args": data}})
    # The task's own time limit stays: only trainings are shorter.
    place = {"env_id": "Hopper-v5", "env_kwargs": xml, "adversary": adversary, "max_episode_steps": None}
    assert study["tasks"] == {"Hopper-v5": place}


def test_a_task_is_judged_with_all_that_it_says():
    place = {"max_episode_steps": 20, "push_body": "foot", "adversary": AdversaryBodies(bodies=["foot"])}
    study = StudySettings(methods=METHODS, tasks={"t": Task(env_id="a:b/C-v0", wrappers={"d.E": None}, **place)})
    trial = evaluation_settings(study, "quick", "t", {}).trial
    assert (trial.env_id, trial.wrappers) == ("a:b/C-v0", {"d.E": None})
    assert {name: getattr(trial, name) for name in place} == place


def test_a_task_can_be_attacked_with_forces_of_its_own():
    tasks = {"arm": Task(env_id="Reacher-v5", force_limits=[0.1]), "leg": Task(env_id="Hopper-v5")}
    attacks = AttackOptions(force_limits=[5.0], restarts=1)
    study = StudySettings(methods=METHODS, tasks=tasks, evaluation=StudyEvaluation(attacks=attacks))
    judged = [evaluation_settings(study, "quick", task, {}).attacks for task in tasks]
    assert judged == [replace(attacks, force_limits=[0.1]), attacks]
    calm = StudySettings(methods=METHODS, tasks=tasks)
    assert evaluation_settings(calm, "quick", "arm", {}).attacks is None


def test_a_force_that_pulls_back_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="positive newtons"):
        Task(env_id="Reacher-v5", force_limits=[-0.1])
