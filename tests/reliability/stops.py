"""Runs that are stopped at random moments, again and again, until they reach their end."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.reliability.runs import ALGORITHMS, arguments, continued, start, what_was_lost

MOST_STOPS = 6
"""Stops of one run, at most."""


def kill(process: ForkServerProcess, generator: random.Random) -> None:
    """End a process as the kernel does when memory runs out."""
    os.kill(_pid(process), signal.SIGKILL)


def terminate(process: ForkServerProcess, generator: random.Random) -> None:
    """Ask a process to end, as a cluster does before it takes a machine away."""
    os.kill(_pid(process), signal.SIGTERM)


def interrupt_twice(process: ForkServerProcess, generator: random.Random) -> None:
    """Press Ctrl-C, and again before the run has ended."""
    os.kill(_pid(process), signal.SIGINT)
    time.sleep(generator.uniform(0.0, 0.4))
    if process.is_alive():
        os.kill(_pid(process), signal.SIGINT)


def fill_disk(process: ForkServerProcess, generator: random.Random) -> None:
    """Let every further write beyond some size of a file fail, as on a disk that is full."""
    resource.prlimit(_pid(process), resource.RLIMIT_FSIZE, (generator.randrange(2000, 20_000), resource.RLIM_INFINITY))


STOPS: dict[str, tuple[Callable[[ForkServerProcess, random.Random], None], set[int]]] = {
    "SIGKILL": (kill, {-signal.SIGKILL, 0}),
    "SIGTERM": (terminate, {143, -signal.SIGTERM, 0}),
    "Ctrl-C twice": (interrupt_twice, {130, -signal.SIGINT, 0}),
    "full disk": (fill_disk, {1, 0}),
}
"""How a run is stopped, and with which exit codes it may end then: 0 where it was at its end already."""


@dataclass
class Tally:
    """What came of faults of one kind."""

    kind: str
    injected: int = 0
    lost: list[str] = field(default_factory=list)
    """What was lost, in words; empty where nothing was."""
    seen: Counter[str] = field(default_factory=Counter)
    """The last lines that the user has seen, and how often."""
    _told: int = 0

    def tell(self) -> None:
        """Print how far the count has come, and what was lost since the last time."""
        sys.stderr.write(f"{self.kind}: {self.injected} injected, {len(self.lost)} lost\n")
        sys.stderr.writelines(f"  LOST {what}\n" for what in self.lost[self._told :])
        self._told = len(self.lost)


def stop_runs(
    kind: str, count: int, seed: int, folder: Path, database: Path | None = None, algorithms: Sequence[str] = ()
) -> Tally:
    """Stop runs of all algorithms, in turn, so many times; compare each in the end with one that ran through.

    Args:
        kind: A key of `STOPS`.
        count: Stops over all runs.
        seed: Of the moments.
        folder: A folder for all runs; whole ones may be there from an earlier count.
        database: An empty MLflow database that is copied for four of five runs; the others make their own.
        algorithms: Names of `ALGORITHMS`; all of them by default.
    """
    tally, generator = Tally(kind), random.Random(seed)
    references: dict[str, tuple[Path, float]] = {}
    chain = 0
    while tally.injected < count:
        names = list(algorithms or ALGORITHMS)
        algorithm = names[chain % len(names)]
        if algorithm not in references:
            references[algorithm] = _reference(algorithm, folder, database)
        where = folder / f"{chain}-{algorithm}"
        where.mkdir(parents=True)
        if database is not None and chain % 5 != 4:
            shutil.copy(database, where / "mlflow.db")
        _stop_one(tally, algorithm, where, references[algorithm], min(count - tally.injected, MOST_STOPS), generator)
        tally.tell()
        chain += 1
    return tally


def _reference(algorithm: str, folder: Path, database: Path | None) -> tuple[Path, float]:
    """Run an algorithm to its end, unless the folder has that from before; return its folder and how long it took."""
    where = folder / f"whole-{algorithm}"
    taken = where / "seconds"
    if taken.exists():
        return where, float(taken.read_text())
    where.mkdir(parents=True)
    if database is not None:
        shutil.copy(database, where / "mlflow.db")
    begin = time.monotonic()
    process = start(arguments(algorithm), where)
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{algorithm} ended with {process.exitcode}: {(where / 'output').read_text()}")
    taken.write_text(str(time.monotonic() - begin))
    return where, float(taken.read_text())


def _stop_one(
    tally: Tally, algorithm: str, where: Path, reference: tuple[Path, float], most: int, generator: random.Random
) -> None:
    whole, seconds = reference
    stop, codes = STOPS[tally.kind]
    stops_left = generator.randint(1, most)
    while True:
        process = start(continued(arguments(algorithm), where), where)
        process.join(generator.uniform(0.0, seconds) if stops_left else None)
        was_stopped = process.is_alive()
        if was_stopped:
            stop(process, generator)
            tally.injected, stops_left = tally.injected + 1, stops_left - 1
            process.join()
        output = where / "output"
        lines = output.read_text().splitlines() if output.exists() else []
        output.write_text("")
        if process.exitcode not in (codes if was_stopped else {0}) or any("Traceback" in line for line in lines):
            tally.lost.append(f"{where.name}: it ended with {process.exitcode}: {lines[-1:]}")
            return
        tally.seen.update(_without_places(line) for line in lines[-1:] if was_stopped)
        if not was_stopped:
            break
    tally.lost += [f"{where.name}: {what}" for what in what_was_lost(where, whole)]
    if not any(what.startswith(where.name) for what in tally.lost):
        shutil.rmtree(where)


def _without_places(line: str) -> str:
    return " ".join(word for word in line.split() if "/" not in word)


def _pid(process: ForkServerProcess) -> int:
    pid = process.pid
    if pid is None:
        raise RuntimeError("the process has not been started.")
    return pid
