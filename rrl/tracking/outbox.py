"""Delivery that survives an unreachable receiver: in order, at least once, never in the way of training."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

Message = dict[str, Any]

FIRST_PAUSE = 30.0
"""Seconds without an attempt after the first failure; doubled with each further one, so that a dead server that only
times out costs a run next to nothing."""
LONGEST_PAUSE = 600.0


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

    def post(self, message: Message) -> None:
        """Deliver a message, anything that JSON can hold, now or later."""
        if time.monotonic() < self._next_attempt:
            append_lines(self.path, [message])
        else:
            self._send([*self.waiting(), message])

    def flush(self) -> int:
        """Try once more to deliver everything, however recent the last failure; return how many still wait."""
        if waiting := self.waiting():
            self._send(waiting)
        return len(self.waiting())

    def waiting(self) -> list[Message]:
        """Read what could not be delivered yet, oldest first, without a last line that a crash cut short."""
        return read_lines(self.path)

    def _send(self, messages: list[Message]) -> None:
        for number, message in enumerate(messages):
            try:
                self._deliver(message)
            except RejectedMessageError as refusal:
                rank_zero_warn(f"Experiment tracking refused a message, kept in {self.path}.rejected: {refusal}")
                append_lines(self.path.with_name(self.path.name + ".rejected"), [message])
            except Exception as error:  # whatever goes wrong over there must not stop the training here
                self._postpone(messages[number:], error)
                return
        self._pause = self._next_attempt = 0.0
        self.path.unlink(missing_ok=True)

    def _postpone(self, messages: list[Message], error: Exception) -> None:
        if not self._pause:
            rank_zero_warn(f"Experiment tracking is unreachable; messages wait in {self.path}. ({first_line(error)})")
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        self._next_attempt = time.monotonic() + self._pause
        replacement = self.path.with_name(self.path.name + ".new")
        append_lines(replacement, messages)
        os.replace(replacement, self.path)


def append_lines(path: Path, records: Iterable[Message]) -> None:
    """Append records to a file of JSON lines, creating it and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def read_lines(path: Path) -> list[Message]:
    """Read a file of JSON lines, in order and without a last one that was cut short; a missing file is empty."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def first_line(error: Exception) -> str:
    """Shorten an error for a sentence, to the beginning of the first line of its message."""
    return (str(error).splitlines() or [""])[0][:120]
