"""What trials are judged by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rrl.study.plan import StudyRun
from rrl.tune.objective import Cvar, evaluations, last_return, tail_return


def run_with(folder: Path, *returns: float) -> StudyRun:
    run = StudyRun("m", "task", 0, folder, (), "settings", None)
    run.folder.mkdir(parents=True)
    lines = [f'{{"step": {step}, "metrics": {{"eval/return_mean": {value}}}}}\n' for step, value in enumerate(returns)]
    (run.folder / "metrics.jsonl").write_text('{"step": 0, "metrics": {"loss": 1.0}}\n' + "".join(lines))
    return run


def test_the_tail_of_all_cells_is_their_mean_and_a_thin_one_the_worst_cell():
    assert tail_return([4.0, 1.0, 7.0], 1.0) == 4.0
    assert tail_return([4.0, 1.0, 7.0], 0.01) == 1.0


def test_a_training_scores_the_mean_of_its_last_three_evaluations(tmp_path):
    run = run_with(tmp_path, 100.0, 1.0, 2.0, 3.0)
    assert evaluations(run) == {0: 100.0, 1: 1.0, 2: 2.0, 3: 3.0}
    assert last_return(run, 0) == 2.0


def test_policies_are_judged_where_a_study_judges_them_and_not_in_the_shorter_episodes_of_their_training():
    task = {"env_id": "rrl/Hopper6Adv-v1", "env_kwargs": {"reset_noise_scale": 0.1}, "max_episode_steps": 250}
    trial = Cvar(suite="quick", alpha=0.5)._settings(task, {}, Path()).trial
    assert (trial.env_id, trial.env_kwargs, trial.max_episode_steps) == ("Hopper-v5", {"reset_noise_scale": 0.1}, None)


def test_a_training_that_failed_or_was_never_judged_has_no_score(tmp_path):
    with pytest.raises(RuntimeError, match="m_task_0 ended with exit code 3 and 1 evaluations"):
        last_return(run_with(tmp_path / "a", 1.0), 3)
    with pytest.raises(RuntimeError, match="exit code 0 and 0 evaluations"):
        last_return(run_with(tmp_path / "b"), 0)


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("suite", "env_id", "message"),
    [
        ("nominal", "InvertedPendulum-v5", "`suite` must have perturbed cells, got 'nominal'"),
        ("quik", "InvertedPendulum-v5", "There is no suite 'quik'; did you mean 'quick'?"),
        ("rap", "Reacher-v5", "it has no sweep for Reacher-v5"),
    ],
)
def test_a_suite_without_perturbed_worlds_for_the_task_is_refused(suite, env_id, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Cvar(suite=suite, alpha=0.5).check({"env_id": env_id})


@pytest.mark.mujoco
def test_a_suite_may_be_that_of_the_game_of_which_the_policy_is_a_player():
    Cvar(suite="quick", alpha=0.5).check({"env_id": "rrl/InvertedPendulumAdv-v1"})
