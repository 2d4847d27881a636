"""Calls on the machines of a Ray cluster; one whose process dies is made again, in another."""

from __future__ import annotations

import os
import platform
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from rrl.tracking.outbox import first_line

Result = TypeVar("Result")
LOCAL = "local"
"""In place of an address: a cluster of this machine alone, for as long as it is needed."""
RETRIES = 5
"""How often a call is made again whose process has died."""
PATIENCE = 5.0
"""Seconds that the machine of an address has to answer."""
HANDED_OVER = ("MLFLOW_TRACKING_URI", "PYTHONPATH")
"""Variables of this process that calls on other machines see too."""


class WorkerError(RuntimeError):
    """Processes or a cluster that cannot go on; the message is one line for the user."""


class KilledError(WorkerError):
    """One call whose process was killed again and again; others may go on."""


class RayCluster:
    """A connection to a Ray cluster, which is cut at the end of a ``with``; calls that have not ended are interrupted.

    The machines must share the working folder, in which calls are made as they would be here.

    Args:
        address: ``HOST:PORT`` of the head, ``auto`` for the cluster of this machine, or ``local`` for one of its own.
        workers: Processes side by side where it is ``local``; elsewhere each call takes one of the cluster's CPUs.

    Raises:
        WorkerError: If Ray is not installed or there is no cluster at the address.
    """

    def __init__(self, address: str, workers: int = 1) -> None:
        require_address(address)
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # its warnings of an address without a cluster are many
        import ray

        where = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL else {"address": address}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="error", **where)
        except Exception as error:  # whatever Ray says of an address that does not answer
            what = "Ray cannot begin a cluster here" if address == LOCAL else f"There is no Ray cluster at {address}"
            raise WorkerError(f"{what} ({first_line(error)}).") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray has put its own in its place
        self._ray = ray
        self._call = ray.remote(max_retries=RETRIES, num_cpus=1)(_call)
        self._pending: dict[Future[Any], Any] = {}

    def submit(self, function: Callable[..., Result], *args: Any) -> Future[Result]:
        """Call a function of a module on the cluster; its future raises what it raises, or a WorkerError."""
        given = {name: os.environ[name] for name in HANDED_OVER if name in os.environ}
        reference = self._call.remote(os.getcwd(), given, function, *args)
        future: Future[Result] = Future()
        self._pending[future] = reference
        reference.future().add_done_callback(lambda found: self._settle(future, found))
        return future

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.interrupt()
        finally:
            self._ray.shutdown()

    def interrupt(self) -> None:
        """Raise a KeyboardInterrupt in the calls that have begun, wait for their end, and begin no others."""
        pending = self._pending.copy()
        for reference in pending.values():
            self._ray.cancel(reference)
        wait(pending)

    def _settle(self, future: Future[Any], found: Future[Any]) -> None:
        self._pending.pop(future)
        if (error := found.exception()) is None:
            future.set_result(found.result())
        else:
            future.set_exception(self._translate(error))

    def _translate(self, error: BaseException) -> BaseException:
        errors = self._ray.exceptions
        if isinstance(error, errors.RayTaskError):  # which quotes the traceback of the other machine
            if "failed to import on the worker" in str(error.cause):
                return WorkerError("The workers of the Ray cluster cannot import rrl; its machines need this version.")
            return error.cause if isinstance(error.cause, Exception) else WorkerError(first_line(error))
        if isinstance(error, (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError)):
            return KilledError("A worker process of the Ray cluster was killed again and again.")
        return WorkerError(f"The Ray cluster cannot go on ({type(error).__name__}).")


def require_address(address: str) -> None:
    """Check in seconds what can be known of a cluster without joining it; a WorkerError says what is wrong."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise WorkerError("`--ray` needs Ray, which `pip install ray` installs.") from error
    if address in {LOCAL, "auto"}:
        return
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise WorkerError(f"`ray` must be HOST:PORT of a Ray cluster, auto or {LOCAL}, got {address!r}.")
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except OSError as error:
        raise WorkerError(f"There is no Ray cluster at {address} ({error.strerror or error}).") from error


def _call(folder: str, environment: Mapping[str, str], function: Callable[..., Result], *args: Any) -> Result:
    """Call a function as it would be called where the others are."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise WorkerError(f"{platform.node()} has no folder {folder}, which all machines must share.") from error
    os.environ.update(environment)
    return function(*args)
