"""Which trainings a study consists of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from rrl.study.plan import StudyError, plan_runs
from rrl.study.settings import Method, StudySettings, Task

DATA = {
    "data": {"init_args": {"num_envs": 4, "num_steps": 10, "iterations_per_epoch": 2}},
    "trainer": {"max_epochs": 3},
}


@pytest.fixture
def configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for task in ("hop", "walk"):
        Path(f"trpo_{task}.yaml").write_text(yaml.safe_dump(DATA))


def study(**changes) -> StudySettings:
    tasks = {task: Task(env_id=f"{task}-v5") for task in ("hop", "walk")}
    settings = {"methods": {"TRPO": Method(configs=["trpo_{task}.yaml"])}, "tasks": tasks, "seeds": "0..1"}
    return StudySettings(**{**settings, **changes})


def test_a_seed_is_complete_before_the_next_one_begins(configs):
    runs = plan_runs(study(), None)
    assert [run.name for run in runs] == ["trpo_hop_0", "trpo_walk_0", "trpo_hop_1", "trpo_walk_1"]


def test_the_name_of_the_task_stands_in_the_files_and_the_seed_on_the_command_line(configs):
    run = plan_runs(study(), "sqlite:///here.db")[3]
    assert run.arguments[:4] == ("--config", "trpo_walk.yaml", "--seed_everything", "1")
    assert run.arguments[-2:] == ("--trainer.logger.init_args.tracking_uri", "sqlite:///here.db")


def test_the_modules_of_a_users_own_classes_are_known_and_no_others(configs):
    model = {"class_path": "tests.toy_training.ToyAlgorithm", "init_args": {"net": {"class_path": "torch.nn.Tanh"}}}
    Path("mine.yaml").write_text(yaml.safe_dump({**DATA, "model": model}))
    (run, *_) = plan_runs(study(methods={"mine": Method(configs=["mine.yaml"])}), None)
    assert run.modules == {"tests.toy_training"}


@pytest.mark.parametrize(("steps", "epochs"), [(None, 3), (400, 5), (1, 1)])
def test_steps_are_rounded_to_whole_epochs(configs, steps, epochs):
    run = plan_runs(study(steps=steps), None)[0]
    assert run.steps == epochs * 80
    assert ("--trainer.max_epochs=5" in run.arguments) == (epochs == 5)


def test_methods_with_sizes_of_their_own_have_as_many_steps_as_the_others(configs):
    method = Method(configs=["trpo_{task}.yaml"], settings={"data.init_args.iterations_per_epoch": 1})
    run = plan_runs(study(methods={"short": method}, steps=400), None)[0]
    assert "--trainer.max_epochs=10" in run.arguments
    assert run.steps == 400


def test_dotted_settings_of_a_file_count_as_those_that_are_written_beneath_each_other(configs):
    Path("best.yaml").write_text("data.init_args.num_steps: 5\n")
    runs = plan_runs(study(methods={"tuned": Method(configs=["trpo_hop.yaml", "best.yaml"])}, steps=400), None)
    assert (runs[0].steps, runs[0].arguments[4]) == (400, "--trainer.max_epochs=10")


def test_whatever_changes_the_training_changes_the_digest(configs):
    method = Method(configs=["trpo_{task}.yaml"], settings={"data.init_args.num_envs": 8})
    digests = {
        plan_runs(each, None)[0].settings for each in (study(), study(steps=400), study(methods={"TRPO": method}))
    }
    assert len(digests) == 3
    before = plan_runs(study(), None)[0].settings
    Path("trpo_hop.yaml").write_text(yaml.safe_dump({**DATA, "model": {"class_path": "RARL"}}))
    assert plan_runs(study(), None)[0].settings != before
    assert plan_runs(study(workers=2), None)[1].settings == plan_runs(study(), None)[1].settings


def test_files_that_are_not_there_and_lengths_that_nobody_knows_are_refused(configs):
    with pytest.raises(StudyError, match=r"There is no configuration ppo_hop\.yaml of the method PPO"):
        plan_runs(study(methods={"PPO": Method(configs=["ppo_{task}.yaml"])}), None)
    with pytest.raises(StudyError, match="must name at least one file"):
        plan_runs(study(methods={"PPO": Method(configs=[])}), None)
    Path("trpo_hop.yaml").write_text("model: {}")
    with pytest.raises(StudyError, match="`steps` needs num_envs, num_steps, iterations_per_epoch in the data of"):
        plan_runs(study(steps=100), None)


def test_the_steps_so_far_are_those_of_the_last_whole_line(configs):
    run = plan_runs(study(), None)[0]
    assert run.steps_done() == 0
    run.folder.mkdir(parents=True)
    whole = [json.dumps({"step": step, "metrics": {}}) + "\n" for step in (80, 160)]
    (run.folder / "metrics.jsonl").write_text("".join(whole) + '{"step": 24')
    assert run.steps_done() == 160
