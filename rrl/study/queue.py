"""The trainings of a study side by side, with one progress bar; one that fails does not stop the others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from queue import SimpleQueue

from tqdm import tqdm

from rrl.cluster import KilledError, RayCluster
from rrl.study.plan import StudyRun
from rrl.study.runs import RunRecord, train, train_elsewhere

Submit = Callable[[StudyRun, Mapping[str, str]], Future[RunRecord]]
"""Begins a training as soon as there is a place for it."""
REFRESH = 1.0
"""Seconds between two looks at how far the runs are."""
QUIET_REFRESH = 30.0
"""The same where nobody watches a terminal."""


class TrainingQueue:
    """Trains up to ``workers`` runs side by side, each on its share of the cores, or as many as a Ray cluster has CPUs.

    Ctrl-C, or whatever else ends the iteration, lets the iterations that are under way end with a checkpoint; a second
    Ctrl-C ends them at once.

    Args:
        workers: Trainings side by side on this machine.
        ray: Address of a cluster for them, see :class:`~rrl.cluster.RayCluster`.
    """

    def __init__(self, workers: int, ray: str | None = None) -> None:
        self._workers, self._ray = workers, ray
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._cores: SimpleQueue[set[int]] = SimpleQueue()
        for share in core_shares(workers):
            self._cores.put(share)

    def run(
        self, runs: Sequence[StudyRun], tags: Mapping[StudyRun, Mapping[str, str]]
    ) -> Iterator[tuple[StudyRun, RunRecord]]:
        """Train runs, begun in their order, and yield each when it has ended."""
        if not runs:
            return
        with self._here() if self._ray is None else self._on_ray(self._ray) as submit:
            futures = {submit(run, tags[run]): run for run in runs}
            with tqdm(
                total=len(runs),
                desc="trainings",
                bar_format="{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]",
                miniters=0,  # else a jump of one training keeps the bar still until the others have jumped as far
                mininterval=REFRESH if sys.stderr.isatty() else QUIET_REFRESH,
            ) as bar:
                yield from self._watch(futures, bar)

    @contextmanager
    def _here(self) -> Iterator[Submit]:
        pool = ThreadPoolExecutor(self._workers)
        try:
            yield lambda run, tags: pool.submit(self._train, run, tags)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self._stop()
            pool.shutdown(wait=True)

    @contextmanager
    def _on_ray(self, address: str) -> Iterator[Submit]:
        with RayCluster(address, self._workers) as cluster:
            yield lambda run, tags: cluster.submit(train_elsewhere, run, tags)

    def _watch(
        self, futures: Mapping[Future[RunRecord], StudyRun], bar: tqdm[None]
    ) -> Iterator[tuple[StudyRun, RunRecord]]:
        waiting = set(futures)
        while waiting:
            ready, waiting = wait(waiting, timeout=REFRESH, return_when=FIRST_COMPLETED)
            done = len(futures) - len(waiting)
            bar.set_description_str(f"trainings ({done} of {len(futures)})", refresh=False)
            bar.update(done + sum(fraction_done(futures[future]) for future in waiting) - bar.n)
            if ready:
                bar.refresh()
            for future in ready:
                try:
                    record = future.result()
                except KilledError:
                    record = RunRecord(futures[future].settings)
                yield futures[future], record

    def _train(self, run: StudyRun, tags: Mapping[str, str]) -> RunRecord:
        cores = self._cores.get()
        try:
            return train(run, tags, lambda process: self._started(process, cores), self._stopping)
        finally:
            with self._lock:
                self._processes.pop(threading.get_ident(), None)
            self._cores.put(cores)

    def _started(self, process: subprocess.Popen[bytes], cores: set[int]) -> None:
        with self._lock:
            self._processes[threading.get_ident()] = process
            if self._stopping.is_set():
                process.send_signal(signal.SIGINT)
        if cores and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, cores)

    def _stop(self) -> None:
        """Ask what still runs to end after its iteration, wait for it, and end it at the next Ctrl-C."""
        with self._lock:
            self._stopping.set()
            running = list(self._processes.values())
            for process in running:
                process.send_signal(signal.SIGINT)
        try:
            for process in running:
                process.wait()
        except KeyboardInterrupt:
            for process in running:
                process.kill()
            raise


def core_shares(workers: int) -> list[set[int]]:
    """Share the cores of this process out; a single worker, or a system that cannot pin processes, gets empty sets.

    Two trainings that share two cores lose time to each other's threads.
    """
    if workers == 1 or not hasattr(os, "sched_getaffinity"):
        return [set() for _ in range(workers)]
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[place % len(cores) :: workers]) for place in range(workers)]


def fraction_done(run: StudyRun) -> float:
    """Tell how far a run is, from 0 to 1; 0 where its length is not known."""
    return min(run.steps_done() / run.steps, 1.0) if run.steps else 0.0
