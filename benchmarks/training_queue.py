"""Train several runs side by side, each in a process of its own; what is complete is not trained again."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Training:
    """One call of ``train.py``."""

    name: str
    """As it is printed."""
    folder: Path
    """Working folder of the process."""
    arguments: Sequence[str]
    """Command line."""
    log: Path
    """Where its output goes."""
    marker: Path
    """A file that says that it came to its end."""

    def run(self, core: int | None = None) -> float:
        """Train, on one core if asked, and return the seconds that it took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        with self.log.open("w") as log:
            subprocess.run(
                [sys.executable, str(ROOT / "train.py"), *self.arguments],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )
        self.marker.touch()
        return time.perf_counter() - start


def train_all(make: Sequence[Callable[[], Training]], jobs: int) -> None:
    """Train one after the other, ``jobs`` at a time.

    Args:
        make: Each makes a training when its turn has come, as it may depend on those before.
        jobs: Processes side by side, each on a core of its own: two that share two cores lose time to each other's
            threads.
    """
    cores: queue.Queue[int | None] = queue.Queue()
    available = sorted(os.sched_getaffinity(0))
    for job in range(jobs):
        cores.put(available[job % len(available)] if jobs > 1 else None)

    def one(make_one: Callable[[], Training]) -> None:
        training, core = make_one(), cores.get()
        try:
            if not training.marker.is_file():
                print(f"{training.name}: {training.run(core):.0f} s", flush=True)
        except subprocess.CalledProcessError as error:
            print(f"{training.name}: failed with exit code {error.returncode}, see {training.log}", flush=True)
        finally:
            cores.put(core)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, make))
