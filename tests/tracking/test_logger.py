"""The logger against real SQLite databases and against servers that are not there."""

from __future__ import annotations

import shutil
import socket
import time

import pytest

from rrl.tracking import MLflowRunLogger


def client_of(logger):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=logger.tracking_uri)


def steps_of(logger, key):
    return [metric.step for metric in client_of(logger).get_metric_history(logger.run_id, key)]


def test_metrics_are_logged_against_the_latest_env_steps(workdir):
    logger = MLflowRunLogger(run_name="run")
    logger.log_metrics({"early": 1.0}, step=3)
    logger.log_metrics({"time/env_steps": 128.0, "a": 1.0}, step=0)
    logger.log_metrics({"b": 2.0}, step=1)
    assert steps_of(logger, "early") == [3]
    assert steps_of(logger, "a") == [128]
    assert steps_of(logger, "b") == [128]
    assert logger.history("b") == {128: 2.0}
    assert logger.means("time/", "_steps") == {"env": 128.0}


def test_default_store_lies_in_the_root_with_absolute_paths(workdir, monkeypatch):
    logger = MLflowRunLogger(root=".", run_name="run")
    monkeypatch.chdir("/")
    logger.log_metrics({"a": 1.0}, step=0)
    assert logger.tracking_uri == f"sqlite:///{workdir / 'mlflow.db'}"
    run = client_of(logger).get_run(logger.run_id)
    assert run.info.artifact_uri.startswith((workdir / "mlruns").as_uri())
    assert logger.save_dir == str(workdir / "runs" / "run")


def test_environment_variable_is_read_at_construction(workdir, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:1234")
    assert MLflowRunLogger().tracking_uri == "http://elsewhere:1234"
    assert MLflowRunLogger(tracking_uri="sqlite:///x.db").tracking_uri == "sqlite:///x.db"


def test_many_and_long_params_arrive_and_are_never_changed(workdir):
    logger = MLflowRunLogger(run_name="run")
    logger.log_params({f"p{n}": "x" * 5000 for n in range(250)})
    logger.log_params({"p0": "other", "new": 1})
    params = client_of(logger).get_run(logger.run_id).data.params
    assert params["p0"] == params["p249"] == "x" * 5000
    assert params["new"] == "1"


def test_whole_config_replaces_lightnings_own_hyperparameters(workdir):
    logger = MLflowRunLogger(run_name="run")
    logger.log_params({"model.gamma": 0.9}, whole_config=True)
    logger.log_hyperparams({"gamma": 0.9, "_class_path": "x"})
    assert client_of(logger).get_run(logger.run_id).data.params == {"model.gamma": "0.9"}


def test_a_finished_run_says_once_what_came_out_also_after_a_resume(workdir):
    logger = MLflowRunLogger(run_name="run")
    for value in (5.0, 7.0):
        logger = MLflowRunLogger(run_name="run", run_id=logger.run_id)
        logger.log_tags({"mlflow.note.content": "A try."})
        logger.log_metrics({"rollout/episode_return_mean": value, "time/env_steps": 100 * value})
        logger.finalize("success")
    told = client_of(logger).get_run(logger.run_id).data.tags["mlflow.note.content"]
    assert told == "A try.\nMean return 7.0 in the last rollout, after 700 environment steps.\n"


def test_the_environment_stands_once_among_the_data_of_a_run(workdir):
    logger = MLflowRunLogger(run_name="run")
    for _ in range(2):
        logger.log_environment("Hopper-v5", "mujoco 4.0.0")
    (found,) = client_of(logger).get_run(logger.run_id).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("Hopper-v5", "mujoco 4.0.0")


@pytest.mark.parametrize(
    ("status", "outcome", "expected"),
    [
        ("success", "FAILED", "FINISHED"),
        ("failed", "FAILED", "FAILED"),
        ("failed", "KILLED", "KILLED"),
    ],
)
def test_run_ends_with_the_right_status_and_is_running_again_when_resumed(workdir, status, outcome, expected):
    logger = MLflowRunLogger(run_name="run")
    logger.log_metrics({"a": 1.0}, step=0)
    logger.outcome = outcome
    logger.finalize(status)
    assert client_of(logger).get_run(logger.run_id).info.status == expected
    resumed = MLflowRunLogger(run_name="run", run_id=logger.run_id)
    resumed.log_metrics({"a": 2.0}, step=1)
    assert client_of(logger).get_run(logger.run_id).info.status == "RUNNING"
    assert resumed.history("a") == {0: 1.0, 1: 2.0}


def test_run_unknown_to_this_mlflow_is_started_anew(workdir):
    logger = MLflowRunLogger(run_name="run", run_id="0" * 32)
    with pytest.warns(UserWarning, match="does not know the run"):
        logger.log_metrics({"a": 1.0}, step=0)
    assert logger.run_id != "0" * 32
    assert steps_of(logger, "a") == [0]


@pytest.mark.filterwarnings("ignore:Experiment tracking is unreachable")
def test_dead_server_neither_stops_nor_stalls_and_a_resume_delivers(workdir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    dead = MLflowRunLogger(run_name="run", tracking_uri=address)
    start = time.monotonic()
    for step in range(50):
        dead.log_metrics({"a": float(step)}, step=step)
    with pytest.warns(UserWarning, match="51 messages did not reach MLflow"):
        dead.finalize("success")
    assert time.monotonic() - start < 20

    alive = MLflowRunLogger(run_name="run")
    alive.log_metrics({"a": 50.0}, step=50)
    assert steps_of(alive, "a") == list(range(51))


def test_repeated_delivery_stores_a_value_once(workdir):
    logger = MLflowRunLogger(run_name="run")
    message = {"step": 1, "time": 1000, "metrics": {"a": 1.0}}
    for _ in range(2):
        logger._outbox.post(message)
    assert steps_of(logger, "a") == [1]


def test_broken_database_does_not_stop_the_run(workdir):
    (workdir / "mlflow.db").write_text("this is not a database")
    logger = MLflowRunLogger(run_name="run")
    with pytest.warns(UserWarning, match="unreachable"):
        logger.log_metrics({"a": 1.0}, step=0)
    assert logger.history("a") == {0: 1.0}


def test_vanished_artifact_is_put_aside(workdir):
    logger = MLflowRunLogger(run_name="run")
    with pytest.warns(UserWarning, match="refused"):
        logger.log_artifact(workdir / "missing.png")
    logger.log_metrics({"a": 1.0}, step=0)
    assert steps_of(logger, "a") == [0]


def test_deleted_store_is_made_again(workdir, migrated_database):
    logger = MLflowRunLogger(run_name="run")
    logger.log_metrics({"a": 1.0}, step=0)
    shutil.copy(migrated_database, workdir / "mlflow.db")
    again = MLflowRunLogger(run_name="run")
    again.log_metrics({"a": 2.0}, step=1)
    assert steps_of(again, "a") == [1]
