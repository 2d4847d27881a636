"""The pieces into which an evaluation is cut, and where they run: in any process, in any order, with equal results."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache

import torch

from rrl.cluster import RayCluster, WorkerError
from rrl.configuration import list_modules
from rrl.envs import available_cores
from rrl.envs.names import modules_of
from rrl.evaluation.attacks.evaluate import AttackCell, AttackOptions, AttackResult, attack_cells, evaluate_attack
from rrl.evaluation.attacks.strongest import held_pushes
from rrl.evaluation.attacks.trained import battlefield
from rrl.evaluation.cells.evaluate import by_condition, evaluate_cells
from rrl.evaluation.cells.suites import Cell
from rrl.evaluation.episodes import Trial
from rrl.evaluation.policies import LoadedPolicy, PolicySource, load_source
from rrl.evaluation.rows import CellKey, CellResult
from rrl.evaluation.settings import EvaluationSettings

Found = CellResult | AttackResult
Policies = Mapping[PolicySource, LoadedPolicy]
CONDITIONS_PER_TASK = 32
"""Enough episodes to keep many worlds busy, and few enough to share out a suite."""
STEPS_PER_EPISODE = 300
"""Steps of training an adversary that take as long as an episode, for the time that is left."""


@dataclass(frozen=True)
class EvaluationTask:
    """One policy in some cells, or under one attack."""

    source: PolicySource
    trial: Trial
    cells: tuple[Cell, ...] = ()
    attack: tuple[AttackCell, AttackOptions] | None = None

    @property
    def costs(self) -> dict[str, int]:
        """Names of the cells that it will give, and what each takes, in whole episodes."""
        episodes = self.trial.num_episodes
        costs = {cell.name: episodes for cell in self.cells}
        if self.attack is not None:
            cell, options = self.attack
            costs[cell.name] = episodes
            if cell.attacker == "strongest":
                training = round(options.steps / STEPS_PER_EPISODE)
                held = len(held_pushes(battlefield(self.trial).adversary)) * episodes
                costs[cell.name] += held + options.restarts * (episodes + training)
        return costs

    def run(self, policy: LoadedPolicy, num_threads: int | None = None) -> Iterator[Found]:
        """Yield rows of cells, or the result of the attack, with the policy that its source holds."""
        label = policy.label
        if self.cells:
            yield from evaluate_cells(policy.act, self.trial, self.cells, label=label, num_threads=num_threads)
        if self.attack is not None:
            yield evaluate_attack(policy.act, self.trial, *self.attack, label=label, own=policy.adversary)


def plan(
    settings: EvaluationSettings, policies: Policies, cells: Sequence[Cell], done: Mapping[CellKey, object]
) -> list[EvaluationTask]:
    """Cut an evaluation into tasks, policy by policy, its cells first, without the rows that are done."""
    tasks = []
    for source, policy in policies.items():
        # Cells of the same condition are run once if they are in one task.
        groups = list(by_condition([cell for cell in cells if CellKey(policy.label, cell.name) not in done]).values())
        for first in range(0, len(groups), CONDITIONS_PER_TASK):
            chunk = groups[first : first + CONDITIONS_PER_TASK]
            tasks.append(EvaluationTask(source, settings.trial, tuple(cell for group in chunk for cell in group)))
        if (attacks := settings.attacks) is not None:
            own = policy.adversary is not None and policy.battlefield == battlefield(settings.trial)
            attacked = [cell for cell in attack_cells(attacks, own=own) if CellKey(policy.label, cell.name) not in done]
            tasks += [EvaluationTask(source, settings.trial, attack=(cell, attacks)) for cell in attacked]
    return tasks


def run_tasks(
    tasks: Sequence[EvaluationTask], policies: Policies, *, workers: int = 1, ray: str | None = None
) -> Iterator[Found]:
    """Run tasks, begun in their order, wherever there is a place for them, and yield what they find as it comes in.

    One worker is this process, which has loaded the policies; several are local processes, and every other process
    loads its own, from the modules that this one has accepted. ``ray`` is the address of a Ray cluster in place of
    them, or ``local`` for one of so many processes; a task whose process dies there is run again. A local process that
    was killed, or a cluster that is not there or cannot go on, is a ``WorkerError``.
    """
    if ray is None and workers == 1:
        return _here(tasks, policies)
    modules = frozenset[str]().union(
        *(policy.modules for policy in policies.values()),
        *(modules_of(task.trial.env_id, task.trial.wrappers) for task in tasks),
    )
    return _in_processes(tasks, modules, workers) if ray is None else _on_ray(tasks, modules, workers, ray)


def _here(tasks: Sequence[EvaluationTask], policies: Policies) -> Iterator[Found]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads round differently
    try:
        for task in tasks:
            yield from task.run(policies[task.source])
    finally:
        torch.set_num_threads(threads)


def _in_processes(tasks: Sequence[EvaluationTask], modules: frozenset[str], workers: int) -> Iterator[Found]:
    # Unlike the standard library's it can end its processes, and needs no guard in the user's own scripts.
    from joblib.externals.loky import ProcessPoolExecutor

    threads = max(available_cores() // workers, 1)
    # SIGINT reaches all processes of a terminal: the first one ends the others.
    pool = ProcessPoolExecutor(max_workers=workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        for future in as_completed([pool.submit(_run_alone, task, modules, threads) for task in tasks]):
            yield from future.result()
    except BrokenProcessPool as error:
        raise WorkerError("A worker process was killed, perhaps because memory ran out.") from error
    finally:
        pool.shutdown(kill_workers=True)


def _on_ray(tasks: Sequence[EvaluationTask], modules: frozenset[str], workers: int, address: str) -> Iterator[Found]:
    with RayCluster(address, workers) as cluster:
        for future in as_completed([cluster.submit(_run_alone, task, modules, 1) for task in tasks]):
            yield from future.result()


def _run_alone(task: EvaluationTask, modules: frozenset[str], num_threads: int) -> list[Found]:
    """Run a whole task in a process that is there for tasks, and has imported nothing of the user's yet."""
    list_modules(modules)
    torch.set_num_threads(1)
    return list(task.run(_load(task.source), num_threads))


@lru_cache(maxsize=4)
def _load(source: PolicySource) -> LoadedPolicy:
    """Load a policy once for all its tasks that follow each other in a process."""
    return load_source(source)
