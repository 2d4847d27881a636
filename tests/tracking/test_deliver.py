"""What runs could not send is delivered after they have ended."""

from __future__ import annotations

import json

import pytest

from rrl.tracking import MLflowRunLogger, remote_run
from rrl.tracking.addresses import database_uri
from rrl.tracking.claim import ClaimedError, Identity, RunFolder, read_identity, unclaimed
from rrl.tracking.deliver import main
from rrl.tracking.remote_run import connect

pytestmark = pytest.mark.filterwarnings("ignore:Experiment tracking", "ignore:.*did not reach MLflow")


def nobody(uri: str) -> None:
    raise ConnectionError("nobody there")


def test_what_a_run_could_not_send_is_delivered_later(workdir, monkeypatch, capsys):
    monkeypatch.setattr(remote_run, "connect", nobody)
    logger = MLflowRunLogger(run_name="run")
    logger.log_metrics({"a": 1.0}, step=3)
    logger.finalize("success")
    assert main([]) == 1
    assert "run: 0 messages delivered" in capsys.readouterr().out
    monkeypatch.setattr(remote_run, "connect", connect)
    assert main([str(workdir)]) == 0
    assert "run: 2 messages delivered" in capsys.readouterr().out
    identity = read_identity(logger.run_dir)
    run = connect(logger.tracking_uri).get_run(identity.run_id)
    assert (run.info.status, run.data.metrics, run.info.run_name) == ("FINISHED", {"a": 1.0}, "run")
    assert not (logger.run_dir / "unsent.jsonl").exists()
    assert main([]) == 0


def test_folder_without_runs_is_said(workdir, capsys):
    assert main([str(workdir)]) == 2
    assert "There is no folder" in capsys.readouterr().err


def killed(name: str) -> MLflowRunLogger:
    """Log as a run that is then killed: its lock is gone, and nothing else has changed."""
    logger = MLflowRunLogger(run_name=name)
    logger.log_metrics({"a": 1.0}, step=0)
    logger._folder.release()
    return logger


def status_of(logger: MLflowRunLogger) -> str:
    return str(connect(logger.tracking_uri).get_run(logger.run_id).info.status)


def test_next_run_sets_the_status_of_a_killed_one_right(workdir):
    dead = killed("dead")
    assert status_of(dead) == "RUNNING"
    running = MLflowRunLogger(run_name="next")
    running.log_metrics({"a": 1.0}, step=0)
    assert (status_of(dead), status_of(running)) == ("KILLED", "RUNNING")
    assert read_identity(dead.run_dir).ended


def test_delivery_sets_the_status_of_a_killed_run_right(workdir):
    dead = killed("dead")
    assert main([]) == 0
    assert status_of(dead) == "KILLED"


def test_continued_run_is_running_again_and_finishes(workdir):
    dead = killed("run")
    again = MLflowRunLogger(run_name="run", run_id=dead.run_id)
    again.log_metrics({"a": 2.0}, step=1)
    assert status_of(dead) == "RUNNING"
    again.finalize("success")
    assert status_of(dead) == "FINISHED"


def test_run_of_another_process_is_left_alone(workdir):
    other = MLflowRunLogger(run_name="other")
    other.log_metrics({"a": 1.0}, step=0)
    other._folder.release()
    # A lock of another process, as far as this one can tell.
    import fcntl

    with (other.run_dir / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with unclaimed(other.run_dir) as is_free:
            assert not is_free
        with pytest.raises(ClaimedError, match=r"Another process trains in .*other; wait for it"):
            RunFolder(other.run_dir, Identity("sqlite:///x", "rrl", "other")).claim()
        killed("next").log_metrics({"a": 1.0}, step=0)
        assert status_of(other) == "RUNNING"


def test_credentials_go_to_no_address_that_a_folder_names(workdir, monkeypatch, capsys):
    killed("run")
    path = workdir / "runs" / "run" / "mlflow.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tracking_uri": "http://127.0.0.1:9"}))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    assert main([]) == 1
    assert "set MLFLOW_TRACKING_URI to http://127.0.0.1:9" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ended": 3}', "\xff"])
def test_damaged_identity_is_none(tmp_path, text):
    (tmp_path / "mlflow.json").write_text(text, encoding="latin-1")
    assert read_identity(tmp_path) is None


def test_repeated_iterations_are_in_mlflow_and_in_the_file_once(workdir):
    first = MLflowRunLogger(run_name="run")
    for step in (1, 2, 3):
        first.log_metrics({"time/env_steps": step, "a": 10.0 * step, "time/share": 0.1, "n": float("nan")})
    again = MLflowRunLogger(run_name="run", run_id=first.run_id)
    for step, value in ((2, 20.0), (3, 31.0), (4, 40.0)):
        again.log_metrics({"time/env_steps": step, "a": value, "time/share": 0.7, "n": float("nan")})
    client = connect(database_uri(workdir / "mlflow.db"))
    values = [(metric.step, metric.value) for metric in client.get_metric_history(first.run_id, "a")]
    assert sorted(values) == [(1, 10.0), (2, 20.0), (3, 30.0), (3, 31.0), (4, 40.0)], "another outcome is another value"
    assert len(client.get_metric_history(first.run_id, "time/share")) == 5
    assert again.history("a") == {1: 10.0, 2: 20.0, 3: 31.0, 4: 40.0}
    assert len((workdir / "runs" / "run" / "metrics.jsonl").read_text().splitlines()) == 5


def test_run_that_is_killed_again_before_it_has_reached_mlflow_leaves_none_running(workdir):
    dead = killed("run")
    for _ in range(2):
        again = MLflowRunLogger(run_name="run")
        again.claim_folder(start_over=True)
        again._folder.release()  # killed at once
    again.log_metrics({"a": 1.0}, step=0)
    assert (status_of(dead), status_of(again)) == ("KILLED", "RUNNING")
