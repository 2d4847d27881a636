"""Databases that several processes open first, addresses, and servers that are sick."""

from __future__ import annotations

import itertools
import multiprocessing
import shlex
import shutil
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rrl.tracking import MLflowRunLogger, remote_run
from rrl.tracking.outbox import BoundedCaller, read_lines
from rrl.tracking.remote_run import connect, database_path, database_uri, experiment_id

pytestmark = pytest.mark.filterwarnings("ignore:Experiment tracking is unreachable")


def start_run(root: str, name: str, gate) -> None:
    import mlflow  # noqa: F401  # so that all open the database at one time

    logger = MLflowRunLogger(root=root, run_name=name)
    gate.wait()
    for step in range(3):
        logger.log_metrics({"a": float(step)}, step=step)
    logger.finalize("success")
    # A machine with more processes than cores may need more than one deadline for a first opening.
    deadline = time.monotonic() + 200
    while logger._outbox.flush() and time.monotonic() < deadline:
        time.sleep(1)


def runs_started_at_once(root: Path, number: int) -> dict[str, str]:
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(number)
    processes = [context.Process(target=start_run, args=(str(root), f"r{n}", gate)) for n in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    client = connect(database_uri(root / "mlflow.db"))
    (experiment,) = client.search_experiments(filter_string="name = 'rrl'")
    found = client.search_runs([experiment.experiment_id])
    assert all([m.step for m in client.get_metric_history(run.info.run_id, "a")] == [0, 1, 2] for run in found)
    return {run.info.run_name: run.info.status for run in found}


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 10])
def test_runs_that_start_at_once_in_a_new_folder_are_all_there(tmp_path, number):
    assert runs_started_at_once(tmp_path, number) == {f"r{n}": "FINISHED" for n in range(number)}
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


@contextmanager
def server(answer):
    """A server on this machine whose handler answers each request by a function."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer(self)

        do_POST = do_PATCH = do_GET  # noqa: N815  # the names are those of the standard library

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def trickle(request) -> None:
    try:
        for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\nX: "):
            request.wfile.write(bytes([byte]))
            time.sleep(0.2)
    except OSError:
        pass


def refuse(status: int, body: bytes = b"", **headers: str):
    def answer(request) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    "answer",
    [trickle, refuse(429, Retry_After="3600"), refuse(503, Retry_After="3600"), refuse(403), refuse(500)],
    ids=["a byte now and then", "429", "503", "403", "500"],
)
def test_sick_server_stalls_nothing_and_all_is_delivered_when_it_is_well(workdir, monkeypatch, answer):
    monkeypatch.setattr(remote_run, "DEADLINE", 2.0)
    with server(answer) as address:
        sick = MLflowRunLogger(run_name="run", tracking_uri=address)
        start = time.monotonic()
        for step in range(20):
            sick.log_metrics({"a": float(step)}, step=step)
        with pytest.warns(UserWarning, match="21 messages did not reach MLflow"):
            sick.finalize("success")
        assert time.monotonic() - start < 15
    well = MLflowRunLogger(run_name="run")
    well.log_metrics({"a": 20.0}, step=20)
    assert [m.step for m in connect(well.tracking_uri).get_metric_history(well.run_id, "a")] == list(range(21))


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
