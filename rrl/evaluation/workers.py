"""Where the tasks of an evaluation run: here, in local processes, or on a Ray cluster; with the same results."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache

import torch

from rrl.evaluation.policies import LoadedPolicy, PolicySource, load_source
from rrl.evaluation.tasks import EvaluationTask, Finding, available_cores


class WorkerError(RuntimeError):
    """Processes or a cluster that cannot go on; the message is one line for the user."""


def run_tasks(
    tasks: Sequence[EvaluationTask],
    policies: Mapping[PolicySource, LoadedPolicy],
    *,
    workers: int = 1,
    ray: str | None = None,
) -> Iterator[Finding]:
    """Run tasks wherever there is a place for them.

    Args:
        tasks: In the order in which they are begun.
        policies: The policies of the tasks, as this process has loaded them; every other process loads its own.
        workers: Local processes; 1 runs everything in this one.
        ray: Address of a Ray cluster, in place of local processes; or ``local`` for one of ``workers`` processes.
            A task whose process dies there is run again.

    Returns:
        What the tasks find, as it comes in.

    Raises:
        WorkerError: If a local process was killed, or a cluster is not there or cannot go on.
    """
    if ray is not None:
        return _on_ray(tasks, workers, ray)
    return _in_processes(tasks, workers) if workers > 1 else _here(tasks, policies)


def _here(tasks: Sequence[EvaluationTask], policies: Mapping[PolicySource, LoadedPolicy]) -> Iterator[Finding]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads round differently
    try:
        for task in tasks:
            yield from task.run(policies[task.source])
    finally:
        torch.set_num_threads(threads)


def _in_processes(tasks: Sequence[EvaluationTask], workers: int) -> Iterator[Finding]:
    # Unlike the standard library's it can end its processes, and needs no guard in the user's own scripts.
    from joblib.externals.loky import ProcessPoolExecutor, as_completed

    threads = max(available_cores() // workers, 1)
    pool = ProcessPoolExecutor(max_workers=workers, initializer=ignore_interrupts)
    try:
        for future in as_completed([pool.submit(run_alone, task, threads) for task in tasks]):
            yield from future.result()
    except BrokenProcessPool as error:
        raise WorkerError("A worker process was killed, perhaps because memory ran out.") from error
    finally:
        pool.shutdown(kill_workers=True)


def _on_ray(tasks: Sequence[EvaluationTask], workers: int, address: str) -> Iterator[Finding]:
    try:
        import ray
    except ImportError as error:
        raise WorkerError("`--ray` needs Ray, which `pip install 'rrl[ray]'` installs.") from error
    try:
        ray.init(
            address=None if address == "local" else address,
            num_cpus=workers if address == "local" else None,
            ignore_reinit_error=True,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
        )
    except Exception as error:  # whatever Ray says of an address that does not answer
        reason = (str(error).splitlines() or [""])[0][:120]
        raise WorkerError(f"There is no Ray cluster at {address} ({reason}).") from error
    try:
        # A process that dies is no fault of the task: it is run again, and gives the same.
        remote = ray.remote(max_retries=5, num_cpus=1)(run_alone)
        waiting = [remote.remote(task, 1) for task in tasks]
        while waiting:
            (ready,), waiting = ray.wait(waiting, num_returns=1)
            yield from ray.get(ready)
    except ray.exceptions.RaySystemError as error:
        raise WorkerError("The Ray cluster cannot go on.") from error
    except ray.exceptions.WorkerCrashedError as error:
        raise WorkerError("A worker process of the Ray cluster was killed again and again.") from error
    finally:
        ray.shutdown()


def run_alone(task: EvaluationTask, num_threads: int) -> list[Finding]:
    """Run a whole task in a process that is there for tasks.

    Args:
        task: The task.
        num_threads: Native threads.

    Returns:
        All that it finds.
    """
    torch.set_num_threads(1)
    return list(task.run(_load(task.source, task.env_id), num_threads))


@lru_cache(maxsize=4)
def _load(source: PolicySource, env_id: str) -> LoadedPolicy:
    """Load a policy once for all its tasks that follow each other in a process."""
    return load_source(source, env_id)


def ignore_interrupts() -> None:
    """Be deaf to Ctrl-C, which reaches all processes of a terminal: the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
