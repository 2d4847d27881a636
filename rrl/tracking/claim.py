"""Whose the folder of a run is: the process that trains in it now, and the run in MLflow to which it belongs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rrl.checks import has_types

IDENTITY_FILE = "mlflow.json"
"""Name of the file in the folder of a run that says to which run in MLflow it belongs."""
LOCK_FILE = ".lock"
"""Name of the file in the folder of a run that is locked while a process trains there; a kill unlocks it."""
PATIENCE = 3.0
"""Seconds to wait for a lock: others look at a folder for an instant."""


class ClaimedError(ValueError):
    """A folder in which another process trains; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """To which run in MLflow a folder belongs."""

    tracking_uri: str
    """Without a password."""
    experiment_name: str
    run_name: str
    run_id: str | None = None
    """None until MLflow has been reached."""
    ended: bool = False
    """False while the run is training, and for ever if it is killed."""

    def write(self, folder: Path) -> None:
        """Write the identity into the folder of its run, whole or not at all."""
        temporary = folder / f".{IDENTITY_FILE}.new"
        temporary.write_text(json.dumps(dataclasses.asdict(self)))
        os.replace(temporary, folder / IDENTITY_FILE)


TYPES = {"tracking_uri": str, "experiment_name": str, "run_name": str, "run_id": str | None, "ended": bool}


def read_identity(folder: Path) -> Identity | None:
    """Read to which run in MLflow a folder belongs; None where that is not, or not legibly, written."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((folder / IDENTITY_FILE).read_text())
        if has_types(content, TYPES):
            return Identity(**{name: content[name] for name in TYPES})
    return None


class RunFolder:
    """The folder of one run, which this process claims for as long as it trains there.

    Args:
        path: The folder.
        identity: To which run in MLflow it belongs.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path, self._identity = path, identity
        self._lock: FileLock | None = None
        self._signed: Identity | None = None

    def claim(self) -> None:
        """Claim the folder until it is released or the process ends; it is created.

        Raises:
            ClaimedError: If another process trains there.
        """
        if self._lock is not None:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        lock = _lock_of(self.path)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout as error:
            raise ClaimedError(
                f"Another process trains in {self.path}; wait for it, or choose another name."
            ) from error
        self._lock = lock

    def sign(self, run_id: str | None, *, ended: bool) -> None:
        """Write down to which run the folder belongs, and whether that has ended."""
        now = dataclasses.replace(self._identity, run_id=run_id, ended=ended)
        if now != self._signed:
            now.write(self.path)
            self._signed = now

    def release(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def lost(self) -> str | None:
        """Return the run in MLflow, of the same address, whose process was killed here; None where there is none."""
        known = read_identity(self.path)
        if known is None or known.ended or known.tracking_uri != self._identity.tracking_uri:
            return None
        return known.run_id

    def lost_neighbours(self, root: Path) -> Iterator[str]:
        """Return the runs in MLflow whose processes were killed in other folders of ``root``, each once."""
        for file in sorted(root.glob(f"*/{IDENTITY_FILE}")):
            neighbour = RunFolder(file.parent, self._identity)
            if neighbour.path == self.path or neighbour.lost() is None:
                continue
            with unclaimed(neighbour.path) as is_free:
                if is_free and (run_id := neighbour.lost()) is not None:
                    yield run_id
                    RunFolder(neighbour.path, read_identity(neighbour.path) or self._identity).sign(run_id, ended=True)


def _lock_of(folder: Path) -> FileLock:
    """Return the lock of a folder, which is the process's: two loggers of one process do not keep each other out."""
    return FileLock(folder / LOCK_FILE, thread_local=False, is_singleton=True)


@contextmanager
def unclaimed(folder: Path) -> Iterator[bool]:
    """Look at the folder of a run while no process trains there; yields False where one does."""
    lock = _lock_of(folder)
    try:
        lock.acquire(timeout=0.0)
    except (Timeout, OSError):  # OSError: a folder of somebody else
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
