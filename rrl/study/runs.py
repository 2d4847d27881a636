"""One training of a study: in a process of its own, continued where it stopped, its end recorded."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rrl.study.plan import LOGGER, StudyError, StudyRun

PAUSE = 0.5
"""Seconds between two looks whether a process of an earlier study has ended."""
POLL = 0.1
"""Seconds between two looks whether a training has ended."""
LOCK = ".lock"
"""File in the folder of a study that is locked for as long as the study runs."""


@dataclass(frozen=True)
class RunRecord:
    """What is known of a training."""

    settings: str
    exit_code: int | None = None
    """None while it has not ended; 0 after a finished one."""
    seconds: float = 0.0
    """Wall clock of all its attempts."""


def read_record(run: StudyRun) -> RunRecord | None:
    """Read what is known of a run; None before its first attempt. StudyError if it was made with other settings."""
    path = _record_path(run)
    if not path.is_file():
        return None
    try:
        record = RunRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path} is damaged; remove it to train that run again.") from error
    if record.settings != run.settings:
        raise StudyError(
            f"The run {run.name} in {run.output} was made with other settings; "
            "choose another `output`, or remove the folder of the study."
        )
    return record


def lock_folder(folder: Path) -> int:
    """Keep other studies out of a folder until this process ends; StudyError if one is there, or it is no good."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StudyError(f"Another study is running in {folder}.") from error
    except OSError as error:
        raise StudyError(f"{folder} cannot hold a study: {error.strerror}.") from error
    return descriptor


def train(
    run: StudyRun,
    tags: Mapping[str, str],
    started: Callable[[subprocess.Popen[bytes]], None],
    stopping: threading.Event,
) -> RunRecord:
    """Train in a process of its own, from the last checkpoint if there is one, and return what is known of it then.

    A run that has finished is left alone. If a process of an earlier study that was killed still trains it, that one
    is waited for first.

    Args:
        run: What to train.
        tags: Those of the MLflow run.
        started: Called with the process as soon as it runs.
        stopping: Set where nothing is to be started any more.
    """
    with _alone(run, stopping) as lock:
        record = read_record(run) or RunRecord(run.settings)
        if record.exit_code == 0 or stopping.is_set():
            return record
        _write(run, RunRecord(run.settings, None, record.seconds))
        start = time.monotonic()
        with run.log.open("ab") as log:
            process = subprocess.Popen(
                _command(run, tags),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the study, which passes it on
                pass_fds=(lock,),
            )
        started(process)
        try:
            _wait(process)
        except (KeyboardInterrupt, SystemExit):  # in a main thread; the training is one of its own session
            process.terminate()
            _wait(process)
            raise
        finally:
            done = RunRecord(run.settings, process.poll(), round(record.seconds + time.monotonic() - start, 1))
            _write(run, done)
        return done


def train_elsewhere(run: StudyRun, tags: Mapping[str, str]) -> RunRecord:
    """Train as :func:`train` does, in a process of a cluster that sees the folder of the study.

    Raises:
        StudyError: If it does not see that the study holds the lock of its folder: the folder is another one, or the
            file system has no locks, by which a training that goes on elsewhere is not begun twice.
    """
    try:
        descriptor = os.open(run.output / LOCK, os.O_RDWR)
        try:
            shared = not _locked(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        shared = False
    if not shared:
        raise StudyError(
            f"{platform.node()} does not see that a study runs in {run.output.resolve()}: "
            "all machines must share that folder, and the locks of its files."
        )
    return train(run, tags, lambda process: None, threading.Event())


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a process; unlike its own ``wait`` without a limit this can be interrupted by Ray."""
    while process.poll() is None:
        time.sleep(POLL)


def _command(run: StudyRun, tags: Mapping[str, str]) -> list[str]:
    command = [sys.executable, "-m", "rrl.main", "train", *run.arguments, f"{LOGGER}tags", json.dumps(dict(tags))]
    return [*command, "--ckpt_path", str(run.checkpoint)] if run.checkpoint.is_file() else command


def _record_path(run: StudyRun) -> Path:
    return run.output / "records" / f"{run.name}.json"


def _write(run: StudyRun, record: RunRecord) -> None:
    path = _record_path(run)
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
    fresh.replace(path)


@contextmanager
def _alone(run: StudyRun, stopping: threading.Event) -> Iterator[int]:
    """Yield the descriptor of a lock that the training inherits, so that it lasts as long as either process lives."""
    for folder in (_record_path(run).parent, run.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_record_path(run).with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _locked(descriptor) and not stopping.wait(PAUSE):
            pass
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
