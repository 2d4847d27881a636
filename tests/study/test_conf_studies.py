"""Every shipped study is complete."""

from __future__ import annotations

import pytest

from rrl.study.command import Study, make_parser, read_settings
from tests.conftest import PROJECT

STUDIES = sorted((PROJECT / "conf" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_its_files_suites_and_attackers_are_there_and_it_says_how_it_is_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    study = Study(read_settings(make_parser(), ["--config", str(path), "--output", str(tmp_path)]), "rrl study")
    study.close()
    assert all(run.steps for run in study.runs)
    assert f"rrl study conf/studies/{path.name}" in path.read_text().splitlines()[0]
    assert "_figure" not in path.stem or "A look at it in minutes: --" in path.read_text()


def test_there_are_studies():
    assert len(STUDIES) >= 4
