"""Metrics of iterations that a continued run repeats: sent again exactly as they were, so that MLflow has them once."""

from __future__ import annotations

import json
from pathlib import Path

from rrl.checks import has_types
from rrl.tracking.outbox import Message, read_lines

CLOCK = "time/"
"""Metrics of this group tell how long something took, all others what it led to."""


class Repeats:
    """What a run has logged after the checkpoint from which it goes on.

    MLflow keeps one value for each metric, step and time. A repeated iteration has other times, so it would be there
    twice.
    """

    def __init__(self, path: Path, env_steps: str) -> None:
        self._path, self._env_steps = path, env_steps
        self._known: dict[tuple[int, str], Message] | None = None

    def find(self, record: Message) -> Message | None:
        """Find the record of the same metrics at the same step, of which only wall-clock times may differ."""
        if self._known is None:
            records = (known for known in read_lines(self._path) if has_types(known, {"step": int, "metrics": dict}))
            later = (known for known in records if known["step"] >= record["step"])
            self._known = {(known["step"], self._outcome(known)): known for known in later}
        return self._known.pop((record["step"], self._outcome(record)), None) if self._known else None

    def _outcome(self, record: Message) -> str:
        """Write down all but wall-clock times; as text, since a NaN differs from itself."""
        values = record["metrics"].items()
        parts = {key: None if key.startswith(CLOCK) and key != self._env_steps else value for key, value in values}
        return json.dumps(parts, sort_keys=True)
