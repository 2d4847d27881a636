"""One run as MLflow knows it, found or begun at the first message, and a connection that never blocks for minutes."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from lightning.pytorch.utilities import rank_zero_warn

from rrl.tracking.addresses import SQLITE, database_path, database_uri
from rrl.tracking.outbox import BoundedCaller, Message, RejectedMessageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_PARAMS_PER_CALL = 100
"""MLflow's own limit."""
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tag of an experiment without which MLflow's pages are about language models."""
PERMANENT_ERRORS = {"INVALID_PARAMETER_VALUE"}
"""All others may pass: rights are given back, servers and deleted runs restored, proxies mended."""
TOO_LARGE = 413
"""HTTP status of a file that will never be accepted."""
DEADLINE = 10.0
"""Seconds for one message, however many calls it takes. MLflow's own limit is for the time between two bytes."""
LOCAL_DEADLINE = 60.0
"""The same for a database on this machine, which is made first, or waited for while another run makes it."""
SLOWEST_UPLOAD = 100_000
"""Bytes a second that a file may take besides."""


class RemoteRun:
    """A run in MLflow: the one of ``run_id``, or a new one in an experiment that is created if missing.

    A run that is there is set to running, unless ``reopen`` is false because nothing runs any more.

    Nothing is connected before the first message, since importing MLflow takes seconds.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment_name: str,
        run_name: str,
        *,
        run_id: str | None,
        root: Path,
        reopen: bool = True,
    ) -> None:
        self.run_id, self._reopens = run_id, reopen
        self.experiment_id: str | None = None
        """MLflow's name of the experiment; None until it has been reached."""
        self.client: MlflowClient | None = None
        self._tracking_uri, self._root = tracking_uri, root
        self._experiment_name, self._run_name = experiment_name, run_name
        self._caller = BoundedCaller()

    def deliver(self, message: Message) -> None:
        """Write a message, see :meth:`_transmit`, in a bounded time.

        RejectedMessageError if MLflow refuses it for good; an error of the connection passes through.
        """
        from mlflow.exceptions import MlflowException  # here, since this takes seconds that are not the server's

        deadline = LOCAL_DEADLINE if self._tracking_uri.startswith(SQLITE) else DEADLINE
        try:
            self._caller.call(lambda: self._deliver(message), deadline + upload_seconds(message))
        except MlflowException as error:
            if error.error_code in PERMANENT_ERRORS and self.client is not None:
                raise RejectedMessageError(str(error)) from error
            raise
        except OSError as error:  # so is an answer of the server to an upload
            if getattr(getattr(error, "response", None), "status_code", None) == TOO_LARGE:
                raise RejectedMessageError(str(error)) from error
            raise

    def _deliver(self, message: Message) -> None:
        if self.client is None:
            client = connect(self._tracking_uri)
            if self.run_id is None or not self._reopen(client, self.run_id):
                experiment = experiment_id(client, self._experiment_name, self._tracking_uri, self._root)
                run_id = client.create_run(experiment, run_name=self._run_name).info.run_id
                if not run_id:
                    raise ConnectionError("what answers there is no MLflow")
                self.run_id = run_id
            self.experiment_id = str(client.get_run(self.run_id).info.experiment_id)
            self.client = client
        self._transmit(self.client, str(self.run_id), message)

    def _transmit(self, client: MlflowClient, run_id: str, message: Message) -> None:
        from mlflow.entities import Dataset, DatasetInput, Metric, RunTag

        if "metrics" in message:
            at, when = message["step"], message["time"]
            metrics = [Metric(key, value, when, at) for key, value in message["metrics"].items()]
            client.log_batch(run_id, metrics=metrics)
        elif "params" in message:
            _log_new_params(client, run_id, message["params"])
        elif "tags" in message:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in message["tags"].items()])
        elif "dataset" in message:
            environment = Dataset(message["dataset"], message["digest"], source_type="environment", source="{}")
            client.log_inputs(run_id, [DatasetInput(environment)])
        elif "artifact" in message:
            if not Path(message["artifact"]).is_file():
                raise RejectedMessageError(f"The file {message['artifact']} no longer exists.")
            client.log_artifact(run_id, message["artifact"], message["folder"])
        elif "killed" in message:
            _call_killed(client, message["killed"])
        else:
            client.set_terminated(run_id, status=message["status"])

    def _reopen(self, client: MlflowClient, run_id: str) -> bool:
        """Set a run that has ended back to running; False where this MLflow does not know it."""
        from mlflow.exceptions import MlflowException

        try:
            if self._reopens:
                client.update_run(run_id, status="RUNNING")
            else:
                client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            rank_zero_warn(f"{self._tracking_uri} does not know the run {run_id}; starting a new one.")
            return False
        return True


def _log_new_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    """Log the parameters that a run does not have yet: MLflow lets nobody change one."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    new = [Param(key, value) for key, value in params.items() if key not in known]
    for first in range(0, len(new), MAX_PARAMS_PER_CALL):
        client.log_batch(run_id, params=new[first : first + MAX_PARAMS_PER_CALL])


def _call_killed(client: MlflowClient, run_id: str) -> None:
    """Give a run whose process is gone the status that says so, if it is there and has none that says more."""
    from mlflow.exceptions import MlflowException

    try:
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, status="KILLED")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def upload_seconds(message: Message) -> float:
    """Say how much longer a message may take for the size of its file, if it has one."""
    with contextlib.suppress(KeyError, OSError):
        return Path(message["artifact"]).stat().st_size / SLOWEST_UPLOAD
    return 0.0


def experiment_id(client: MlflowClient, name: str, uri: str, root: Path) -> str:
    """Find an experiment, or create it, in a database of files with the artifacts in a folder of ``root``."""
    from mlflow.exceptions import MlflowException

    if known := client.get_experiment_by_name(name):
        return str(known.experiment_id)
    # Without an absolute location a bare SQLite client writes artifacts to wherever the process happens to stand.
    location = (root / "mlruns").as_uri() if uri.startswith("sqlite:") else None
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=KIND))
    except MlflowException:
        if known := client.get_experiment_by_name(name):  # another run was faster
            return str(known.experiment_id)
        raise


def connect(uri: str) -> MlflowClient:
    """Make a client that gives up after one retry, and is quiet; whether the server answers shows at its first use."""
    # MLflow's own seven retries block for four minutes when its server is gone, and a server may ask for an hour.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "false")
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Its tracebacks of what a database refuses; the error itself comes here, and is told in a sentence.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if not uri.startswith(SQLITE):
        return MlflowClient(tracking_uri=uri)
    path = database_path(uri)
    if not path.exists() or path.stat().st_size == 0:
        _create_database(path)
    return _open_database(uri)


def _create_database(path: Path) -> None:
    """Make an empty database, whole or not at all, unless another process is faster.

    MLflow's own first opening takes seconds; two at once, or a kill, leave a database that never works again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists() and path.stat().st_size > 0:
            return
        for rest in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*"):
            rest.unlink()
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        _open_database(database_uri(fresh))._tracking_client.store.engine.dispose()
        os.replace(fresh, path)


def _open_database(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    # MLflow makes the folder as it is written in the address, quoted or not.
    quoted = Path(uri.removeprefix(SQLITE)).parent
    was_there = quoted.exists()
    client = MlflowClient(tracking_uri=uri)
    if not was_there and quoted != database_path(uri).parent:
        with contextlib.suppress(OSError):
            os.removedirs(quoted)
    return client
