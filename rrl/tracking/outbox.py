"""Delivery that survives an unreachable receiver: in order, at least once, never in the way of training."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch.utilities import rank_zero_warn

Message = dict[str, Any]
T = TypeVar("T")

FIRST_PAUSE = 30.0
"""Seconds without an attempt after the first failure; doubled with each further one, so that a dead server that only
times out costs a run next to nothing."""
LONGEST_PAUSE = 600.0
LONGEST_POST = 8.0
"""Seconds after which a post leaves the rest of what waits to a later one: a slow receiver must not stall training."""
LONGEST_FLUSH = 60.0
"""The same for the end of a run."""


class RejectedMessageError(Exception):
    """The receiver understood a message and refuses it for good: sending it again would block the queue for ever."""


class Outbox:
    """Sends messages at once, or keeps them in a file until the receiver is back.

    Messages are delivered in the order in which they were posted. What cannot be delivered is appended to ``path``, one
    JSON object a line, and sent before the next message that gets through, also by a later process with the same path.
    A message may arrive twice if the receiver failed after storing it, so messages must be safe to repeat. An exception
    of ``deliver`` means that a message did not arrive; refused ones go to ``<path>.rejected``.
    """

    def __init__(self, deliver: Callable[[Message], None], path: Path) -> None:
        self.path = path
        self._deliver = deliver
        self._pause = self._next_attempt = 0.0
        self._told_of_refusal = False

    def post(self, message: Message) -> None:
        """Deliver a message, anything that JSON can hold, now or later."""
        if time.monotonic() < self._next_attempt:
            append_lines(self.path, [message])
        else:
            self._send([*self.waiting(), message], LONGEST_POST)

    def flush(self) -> int:
        """Try once more to deliver everything, however recent the last failure; return how many still wait."""
        if waiting := self.waiting():
            self._send(waiting, LONGEST_FLUSH)
        return len(self.waiting())

    def waiting(self) -> list[Message]:
        """Read what could not be delivered yet, oldest first."""
        return read_lines(self.path)

    def replace(self, messages: list[Message]) -> None:
        """Let these messages wait, and no others."""
        if not messages:
            self.path.unlink(missing_ok=True)
            return
        replacement = self.path.with_name(self.path.name + ".new")
        replacement.unlink(missing_ok=True)  # of a process that was killed here
        append_lines(replacement, messages)
        os.replace(replacement, self.path)

    def _send(self, messages: list[Message], seconds: float) -> None:
        end = time.monotonic() + seconds
        for number, message in enumerate(messages):
            try:
                if number and time.monotonic() > end:
                    raise TimeoutError("it is slow")
                self._deliver(message)
            except RejectedMessageError as refusal:
                self._put_aside(message, refusal)
            except Exception as error:  # whatever goes wrong over there must not stop the training here
                self._postpone(messages[number:], error)
                return
        self._pause = self._next_attempt = 0.0
        self.path.unlink(missing_ok=True)

    def _put_aside(self, message: Message, refusal: Exception) -> None:
        rejected = self.path.with_name(self.path.name + ".rejected")
        append_lines(rejected, [message])
        if not self._told_of_refusal:
            rank_zero_warn(f"Experiment tracking refused a message; such are kept in {rejected}. ({refusal})")
        self._told_of_refusal = True

    def _postpone(self, messages: list[Message], error: Exception) -> None:
        if not self._pause:
            rank_zero_warn(f"Experiment tracking is unreachable; messages wait in {self.path}. ({first_line(error)})")
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        self._next_attempt = time.monotonic() + self._pause
        self.replace(messages)


class BoundedCaller:
    """Makes one call at a time, each in a thread, for which nobody waits longer than was said.

    A call that is late goes on by itself, and until it has ended there is no other.
    """

    def __init__(self) -> None:
        self._running: Future[Any] | None = None

    def call(self, function: Callable[[], T], seconds: float) -> T:
        """Return what a function returns, or raise what it raises; TimeoutError if that takes too long."""
        end = time.monotonic() + seconds
        if self._running is not None:
            _await(self._running, end)
        self._running = future = Future[T]()

        def work() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        # Nobody waits for such a thread at the end of the process either.
        threading.Thread(target=work, name="mlflow-call", daemon=True).start()
        _await(future, end)
        return future.result()


def _await(future: Future[Any], end: float) -> None:
    if not wait([future], timeout=max(0.0, end - time.monotonic())).done:
        raise TimeoutError("no answer in time")


def append_lines(path: Path, records: Iterable[Message]) -> None:
    """Append records to a file of JSON lines, creating it and its folder; a line that was cut short is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")
        file.writelines(json.dumps(record).encode() + b"\n" for record in records)


def read_lines(path: Path) -> list[Message]:
    """Read a file of JSON lines, in order and without those that were cut short or damaged; a missing one is empty."""
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError):  # of JSON, and of bytes that are not text
            if isinstance(record := json.loads(line.decode()), dict):
                records.append(record)
    return records


def first_line(error: Exception) -> str:
    """Shorten an error for a sentence, to the beginning of the first line of its message."""
    return (str(error).splitlines() or [""])[0][:120]
