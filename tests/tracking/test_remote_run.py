"""Databases that several processes open first, addresses, and servers that are sick."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from rrl.tracking import MLflowRunLogger, remote_run
from rrl.tracking.addresses import database_path, database_uri
from rrl.tracking.outbox import BoundedCaller, read_lines
from rrl.tracking.remote_run import connect, experiment_id
from tests.reliability.servers import try_server
from tests.reliability.starts import lost_of_runs_started_at_once

pytestmark = pytest.mark.filterwarnings("ignore:Experiment tracking is unreachable")


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 10])
def test_runs_that_start_at_once_in_a_new_folder_are_all_there(tmp_path, number):
    assert lost_of_runs_started_at_once(tmp_path, number) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", ".mlflow.db.lock", "runs", "mlruns"}


@pytest.fixture
def made(migrated_database, monkeypatch) -> list[Path]:
    """The databases that MLflow has made; a stand-in for it, whose first opening takes seconds."""
    paths = []

    class Store:
        def __init__(self, uri: str) -> None:
            self._tracking_client = self.store = self.engine = self
            if not (path := database_path(uri)).exists():
                paths.append(path)
                time.sleep(0.2)
                shutil.copy(migrated_database, path)

        def dispose(self) -> None:
            pass

    monkeypatch.setattr(remote_run, "_open_database", Store)
    return paths


def test_only_one_of_many_makes_a_new_database(tmp_path, migrated_database, made):
    threads = [threading.Thread(target=connect, args=(database_uri(tmp_path / "mlflow.db"),)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert made[0] != tmp_path / "mlflow.db", "a kill must not leave half a database"
    assert (tmp_path / "mlflow.db").read_bytes() == migrated_database.read_bytes()


def test_what_a_kill_left_of_a_new_database_is_removed(tmp_path, made):
    for name in (".mlflow.db.123", ".mlflow.db.123-journal"):
        (tmp_path / name).write_text("half")
    connect(database_uri(tmp_path / "mlflow.db"))
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", ".mlflow.db.lock"}


def test_what_a_database_refuses_is_an_error_and_no_page_of_the_log(tmp_path, migrated_database, caplog, capfd):
    path = Path(shutil.copy(migrated_database, tmp_path / "mlflow.db"))
    client = connect(database_uri(path))
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE experiments RENAME TO gone")
    with pytest.raises(MlflowException):
        client.create_experiment("rrl")
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())


def test_experiment_that_another_run_has_just_made_is_found(workdir, monkeypatch):
    client = connect(database_uri(workdir / "mlflow.db"))
    made = client.create_experiment("rrl")
    answers = itertools.chain([None], itertools.repeat(client.get_experiment_by_name("rrl")))
    monkeypatch.setattr(client, "get_experiment_by_name", lambda name: next(answers))
    assert experiment_id(client, "rrl", "sqlite:", workdir) == made


@pytest.mark.parametrize("name", ["a b", "what?", "c#d", "100%20", "für-日本", "it's"])
def test_database_lies_in_a_folder_of_any_name_and_the_printed_command_opens_it(workdir, name):
    folder = workdir / name / "deep?"
    folder.mkdir(parents=True)
    shutil.move(workdir / "mlflow.db", folder)
    logger = MLflowRunLogger(root=str(folder), run_name="run")
    logger.log_metrics({"a": 1.0}, step=0)
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "runs"}
    assert [path.name for path in workdir.iterdir()] == [name]
    words = shlex.split(logger.page, comments=True)
    assert words[:3] == ["mlflow", "ui", "--backend-store-uri"]
    (address,) = words[3:]
    assert database_path(address) == folder / "mlflow.db"
    assert connect(address).get_run(logger.run_id).data.metrics == {"a": 1.0}


@pytest.mark.parametrize(
    "address",
    [
        "file:///tmp/mlruns",
        "./mlruns",
        "htp://127.0.0.1:5000",
        "http://",
        "http:/127.0.0.1:5000",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "127.0.0.1:5000",
        "http://my server:5000",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////",
        "sqlite:mlflow.db",
        "postgresql+nothing://host/db",
    ],
)
def test_addresses_that_can_never_work_are_refused_in_one_sentence(workdir, monkeypatch, address):
    with pytest.raises(ValueError, match=r"^`tracking_uri` must be the address of .*, got '.*\.$"):
        MLflowRunLogger(tracking_uri=address)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ValueError, match=r"^`MLFLOW_TRACKING_URI` must be"):
        MLflowRunLogger()


@pytest.mark.parametrize("address", ["http://h", "https://u:p@h:1/x", "sqlite:///x.db", "databricks", "databricks://p"])
def test_addresses_that_may_work_are_taken(workdir, address):
    assert MLflowRunLogger(tracking_uri=address).tracking_uri == address


def test_password_of_a_refused_address_is_not_shown(workdir):
    with pytest.raises(ValueError, match="htp://h/") as refusal:
        MLflowRunLogger(tracking_uri="htp://ada:secret@h/")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["a byte now and then", "429", "503", "403", "500", "answers nothing of use"])
def test_sick_server_stalls_nothing_and_all_is_delivered_when_it_is_well(workdir, monkeypatch, kind):
    monkeypatch.setattr(remote_run, "DEADLINE", 2.0)
    tally = try_server(kind, 20, workdir)
    assert tally.lost == []
    assert tally.longest < 15


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_DOES_NOT_EXIST"])
def test_refusals_that_may_pass_are_kept_and_delivered_later(workdir, monkeypatch, code):
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2

    logger = MLflowRunLogger(run_name="run")
    logger.log_metrics({"a": 0.0}, step=0)
    client = logger.experiment
    log_batch = client.log_batch

    def refuse_for_now(*args: object, **kwargs: object) -> None:
        raise MlflowException("not now", error_code=databricks_pb2.ErrorCode.Value(code))

    monkeypatch.setattr(client, "log_batch", refuse_for_now)
    for step in (1, 2):
        logger.log_metrics({"a": float(step)}, step=step)
    monkeypatch.setattr(client, "log_batch", log_batch)
    logger.finalize("success")
    assert [m.step for m in client.get_metric_history(logger.run_id, "a")] == [0, 1, 2]


def test_what_can_never_be_accepted_is_put_aside_with_one_warning(workdir, recwarn):
    logger = MLflowRunLogger(run_name="run")
    for step in range(3):
        logger.log_metrics({"not a name!": 1.0, "a": 1.0}, step=step)
        logger.log_metrics({"a": 1.0}, step=step)
    logger.finalize("success")
    assert len([warning for warning in recwarn if "refused" in str(warning.message)]) == 1
    assert len(read_lines(logger.run_dir / "unsent.jsonl.rejected")) == 3
    assert connect(logger.tracking_uri).get_run(logger.run_id).info.status == "FINISHED"


def test_a_late_call_is_left_alone_and_there_is_no_second_beside_it():
    caller, release, calls = BoundedCaller(), threading.Event(), []

    def slow() -> str:
        calls.append(1)
        release.wait(10)
        return "done"

    for _ in range(2):
        with pytest.raises(TimeoutError):
            caller.call(slow, 0.05)
    assert calls == [1]
    release.set()
    assert caller.call(slow, 5) == "done"


def test_an_error_of_a_call_is_raised():
    with pytest.raises(KeyError):
        BoundedCaller().call(lambda: {}["x"], 5)
