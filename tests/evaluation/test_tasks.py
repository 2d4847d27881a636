"""Tasks give the same wherever they run, also where a process of a cluster dies in the middle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rrl.evaluation.cells.suites import load_suite
from rrl.evaluation.episodes import Trial
from rrl.evaluation.policies import PolicySource, load_source
from rrl.evaluation.tasks import EvaluationTask, run_tasks
from tests.evaluation.controllers import TASK


def tasks(function="upright"):
    source = PolicySource("A", f"tests.evaluation.controllers:{function}", 0)
    cells = load_suite("quick", Trial(TASK, 1)).cells
    return [EvaluationTask(source, Trial(TASK, 2), cells=cells[first : first + 3]) for first in range(0, len(cells), 3)]


def found(rows):
    """Rows by key, without the time and without what is not a number, which equals nothing."""
    plain = {"seconds": 0.0, "value_1": 0.0, "value_2": 0.0, "forward_distance": 0.0}
    return {row.key: replace(row, **plain) for row in rows}


@pytest.mark.slow
@pytest.mark.mujoco
@pytest.mark.filterwarnings("ignore")  # Ray's own, which are many
def test_a_killed_process_of_a_ray_cluster_changes_nothing(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    order = tmp_path / "order"
    order.write_text("kill")
    monkeypatch.setenv("TREACHERY", str(order))
    monkeypatch.setenv("HOME", str(tmp_path))  # where a local cluster keeps its token
    distributed = found(run_tasks(tasks("treacherous"), {}, workers=2, ray="local"))
    assert not order.exists()
    here = tasks("treacherous")
    policies = {here[0].source: load_source(here[0].source)}
    assert distributed == found(run_tasks(here, policies))
