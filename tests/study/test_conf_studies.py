"""Every shipped study is complete."""

from __future__ import annotations

import pytest

from rrl.evaluation.cells.suites import load_suite
from rrl.evaluation.episodes import Trial
from rrl.study.command import make_parser, read_settings
from rrl.study.plan import plan_runs
from tests.conftest import PROJECT

STUDIES = sorted((PROJECT / "conf" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_its_files_and_suites_are_there_and_it_says_how_it_is_run(path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    study = read_settings(make_parser(), ["--config", str(path)])
    assert all(run.steps for run in plan_runs(study, None))
    if study.evaluation.suite is not None:
        assert all(load_suite(study.evaluation.suite, Trial(task.env_id, 1)).cells for task in study.tasks.values())
    assert f"rrl study conf/studies/{path.name}" in path.read_text().splitlines()[0]
    assert "_figure" not in path.stem or "A look at it in minutes: --" in path.read_text()


def test_there_are_studies():
    assert len(STUDIES) >= 4
