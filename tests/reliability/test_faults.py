"""A few faults of each kind in every run of the tests, more of them among the slow ones; counts: ``__main__.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.fuzz_checkpoints import fuzz_checkpoints
from tests.reliability.fuzz_configurations import fuzz_configurations
from tests.reliability.long_runs import watch
from tests.reliability.runs import arguments, start
from tests.reliability.servers import SICK, try_server
from tests.reliability.starts import start_at_once
from tests.reliability.stops import STOPS, stop_runs

pytestmark = pytest.mark.mujoco


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_killed_run_ends_as_if_nothing_had_happened(tmp_path, migrated_database):
    tally = stop_runs("SIGKILL", 2, 0, tmp_path, migrated_database, ["TRPO"])
    assert tally.lost == []
    assert tally.injected == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", STOPS)
def test_stopped_runs_of_all_algorithms_end_as_if_nothing_had_happened(kind, tmp_path, migrated_database):
    assert stop_runs(kind, 10, 1, tmp_path, migrated_database).lost == []


@pytest.mark.parametrize("count", [10, pytest.param(300, marks=pytest.mark.slow)])
def test_wrong_configurations_are_refused_in_a_sentence_or_train(count, tmp_path):
    tally = fuzz_configurations(count, 0, tmp_path)
    assert tally.lost == []
    assert tally.seen["refused without a name"] <= count / 100


def finished(folder: Path, algorithm: str) -> Path:
    folder.mkdir()
    process = start(arguments(algorithm), folder)
    process.join()
    assert process.exitcode == 0, (folder / "output").read_text()
    return folder


@pytest.mark.parametrize(
    ("count", "algorithms"), [(6, ["TRPO"]), pytest.param(200, ["RCRARL", "ADRRL"], marks=pytest.mark.slow)]
)
def test_damaged_checkpoints_are_refused_in_a_sentence(count, algorithms, tmp_path):
    runs = {name: finished(tmp_path / name, name) for name in algorithms}
    assert fuzz_checkpoints(count, 0, tmp_path, runs).lost == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", SICK)
def test_sick_server_stalls_no_call_for_long_and_loses_nothing(kind, workdir):
    visit = try_server(kind, 50, workdir)
    assert visit.lost == []
    assert visit.longest < 20


@pytest.mark.slow
def test_ten_runs_that_start_at_once_are_all_there(tmp_path):
    assert start_at_once(2, tmp_path).lost == []


@pytest.mark.slow
def test_long_run_holds_no_more_files_and_threads_late_than_early(workdir):
    tally = watch(2000, workdir)
    assert [what for what in tally.lost if not what.startswith("memory")] == []
    assert tally.injected == 2000
