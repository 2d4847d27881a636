"""One run as MLflow knows it, found or begun at the first message, and a connection that never blocks for minutes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch.utilities import rank_zero_warn

from rrl.tracking.outbox import Message, RejectedMessageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
MAX_PARAMS_PER_CALL = 100
"""MLflow's own limit."""
PERMANENT_ERRORS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED"}


class RemoteRun:
    """A run in MLflow: the one of ``run_id``, or a new one in an experiment that is created if missing.

    Nothing is connected before the first message, since importing MLflow takes seconds.
    """

    def __init__(
        self, tracking_uri: str, experiment_name: str, run_name: str, *, run_id: str | None, root: Path
    ) -> None:
        self.run_id = run_id
        self.client: MlflowClient | None = None
        self._tracking_uri, self._root = tracking_uri, root
        self._experiment_name, self._run_name = experiment_name, run_name

    def deliver(self, message: Message) -> None:
        """Write a message, see :meth:`_transmit`.

        RejectedMessageError if MLflow refuses it for good; an error of the connection passes through.
        """
        from mlflow.exceptions import MlflowException

        try:
            if self.client is None:
                client = connect(self._tracking_uri)
                if self.run_id is None or not self._reopen(client, self.run_id):
                    experiment = experiment_id(client, self._experiment_name, self._tracking_uri, self._root)
                    self.run_id = client.create_run(experiment, run_name=self._run_name).info.run_id
                self.client = client
            self._transmit(self.client, str(self.run_id), message)
        except MlflowException as error:
            if error.error_code in PERMANENT_ERRORS and self.client is not None:
                raise RejectedMessageError(str(error)) from error
            raise

    def _transmit(self, client: MlflowClient, run_id: str, message: Message) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if "metrics" in message:
            at, when = message["step"], message["time"]
            metrics = [Metric(key, value, when, at) for key, value in message["metrics"].items()]
            client.log_batch(run_id, metrics=metrics)
        elif "params" in message:
            known = client.get_run(run_id).data.params
            params = [Param(key, value) for key, value in message["params"].items() if key not in known]
            for first in range(0, len(params), MAX_PARAMS_PER_CALL):
                client.log_batch(run_id, params=params[first : first + MAX_PARAMS_PER_CALL])
        elif "tags" in message:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in message["tags"].items()])
        elif "artifact" in message:
            if not Path(message["artifact"]).is_file():
                raise RejectedMessageError(f"The file {message['artifact']} no longer exists.")
            client.log_artifact(run_id, message["artifact"], message["folder"])
        else:
            client.set_terminated(run_id, status=message["status"])

    def _reopen(self, client: MlflowClient, run_id: str) -> bool:
        """Set a run that has ended back to running; False where this MLflow does not know it."""
        from mlflow.exceptions import MlflowException

        try:
            client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            rank_zero_warn(f"{self._tracking_uri} does not know the run {run_id}; starting a new one.")
            return False
        return True


def experiment_id(client: MlflowClient, name: str, uri: str, root: Path) -> str:
    """Find an experiment, or create it, in a database of files with the artifacts in a folder of ``root``."""
    if known := client.get_experiment_by_name(name):
        return str(known.experiment_id)
    # Without an absolute location a bare SQLite client writes artifacts to wherever the process happens to stand.
    location = (root / "mlruns").as_uri() if uri.startswith("sqlite:") else None
    return str(client.create_experiment(name, artifact_location=location))


def is_strange(uri: str) -> bool:
    """Tell whether an address is neither of files nor in ``MLFLOW_TRACKING_URI``, and so gets no credentials."""
    return not uri.startswith((SQLITE, "file:", "/")) and uri != os.environ.get("MLFLOW_TRACKING_URI")


def has_credentials() -> bool:
    """Tell whether there is a name, password or token that MLflow would send to any server."""
    names = ("USERNAME", "PASSWORD", "TOKEN", "AUTH", "AWS_SIGV4", "CLIENT_CERT_PATH")
    in_file = Path("~/.mlflow/credentials").expanduser().exists()
    return in_file or any(f"MLFLOW_TRACKING_{name}" in os.environ for name in names)


def lacks_database(uri: str) -> bool:
    """Tell whether a tracking URI names an SQLite file that is not there: connecting would create it."""
    return uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file()


def connect(uri: str) -> MlflowClient:
    """Make a client that gives up after one retry, and is quiet; whether the server answers shows at its first use."""
    # MLflow's own seven retries block for four minutes when its server is gone.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)
