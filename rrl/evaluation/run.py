"""An evaluation from its settings to its rows: everything is checked first, and every finished cell is kept."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from rrl.envs.make import is_native
from rrl.evaluation.attack_cells import AttackResult
from rrl.evaluation.fresh_adversaries import adversarial_task
from rrl.evaluation.policies import LoadedPolicy, find_policies, load_source
from rrl.evaluation.report.sources import PolicyOrigin, Provenance
from rrl.evaluation.report.write import ReportFiles, write_report
from rrl.evaluation.result_store import CellKey, ResultStore
from rrl.evaluation.results import CellResult
from rrl.evaluation.settings import EvaluationSettings
from rrl.evaluation.suites import Suite, load_suite
from rrl.evaluation.tasks import EvaluationTask, Finding, plan
from rrl.evaluation.video import film
from rrl.evaluation.workers import run_tasks

ATTACKS_FILE = "attacks.csv"
ATTACK_COLUMNS = (
    "method",
    "policy",
    "train_seed",
    "attack",
    "return_mean",
    "force_rms_newtons",
    "training_steps",
    "strongest",
    "candidates",
)


class Evaluation:
    """An evaluation whose policies, suite and folder have been found good.

    Args:
        settings: What is to be done.

    Raises:
        ValueError: In one sentence, if a policy, the suite or the folder is no good.
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings
        self.suite: Suite = load_suite(settings.suite, settings.env_id)
        if settings.video and not is_native(settings.env_id):
            raise ValueError(f"`video` needs a native task, got {settings.env_id}.")
        if settings.attacks is not None:
            adversarial_task(settings.env_id)
        sources = find_policies(settings.policies)
        self._policies = [(source, load_source(source, settings.env_id)) for source in sources]
        self.folder = Path(settings.output)
        self._store = ResultStore(self.folder, fingerprint(settings, self.suite))

    @property
    def policies(self) -> list[LoadedPolicy]:
        """The policies, method by method."""
        return [policy for _, policy in self._policies]

    def run(self, *, show_progress: bool = True) -> list[CellResult]:
        """Run what has not been run yet.

        Whatever ends it early, the rows that were finished stay in the folder.

        Args:
            show_progress: Show a bar with the time that is left.

        Returns:
            All rows of these policies in the order of policies and cells, those of earlier runs included.
        """
        done = {CellKey.of(row) for row in self._store.rows()}
        tasks = plan(self.settings, self._policies, self.suite.cells, done)
        findings = run_tasks(tasks, dict(self._policies), workers=self.settings.workers, ray=self.settings.ray)
        costs = self._costs(tasks)
        hidden = not show_progress or not tasks
        with tqdm(total=sum(costs.values()), unit="episode", desc="evaluating", disable=hidden) as bar:
            for finding in findings:
                row = self._keep(finding)
                bar.update(costs[CellKey.of(row)])
        return self._rows()

    def _keep(self, finding: Finding) -> CellResult:
        if isinstance(finding, AttackResult):
            append_attack(self.folder / ATTACKS_FILE, finding)
            finding = finding.row
        self._store.add(finding)
        return finding

    def _costs(self, tasks: Sequence[EvaluationTask]) -> dict[CellKey, int]:
        """Return the keys of the rows that tasks give, in their order, and what each takes."""
        labels = {source: policy.label for source, policy in self._policies}
        return {CellKey(*labels[task.source], name): cost for task in tasks for name, cost in task.costs.items()}

    def _rows(self) -> list[CellResult]:
        """Return the rows of the policies at hand, in an order that does not depend on who was ready first."""
        rows = {CellKey.of(row): row for row in self._store.rows()}
        everything = self._costs(plan(self.settings, self._policies, self.suite.cells, set()))
        return [rows[key] for key in everything if key in rows]

    def report(self, rows: Sequence[CellResult], command: str) -> tuple[ReportFiles, Provenance]:
        """Write the report of what there is.

        Args:
            rows: What :meth:`run` returned.
            command: The command line, for whoever wants to repeat it.

        Returns:
            The files, and where the numbers come from.
        """
        attacks = self.settings.attacks
        budget = () if attacks is None or attacks.restarts == 0 else (attacks.budget,)
        origins = tuple(origin_of(policy) for policy in self.policies)
        provenance = Provenance(command, self.settings.seed, origins, (*self.suite.notes, *budget))
        return write_report(rows, self.folder, provenance=provenance, baseline=self.settings.baseline), provenance

    def film_worst(self, rows: Sequence[CellResult]) -> Iterator[Path]:
        """Film each method's first policy in the cell of the suite where it does worst.

        Args:
            rows: What :meth:`run` returned.

        Yields:
            The files, when they are there. A machine that cannot draw raises a ``VideoError``.
        """
        cells = {cell.name: cell for cell in self.suite.cells}
        firsts = {policy.label.method: policy for policy in reversed(self.policies)}
        (self.folder / "videos").mkdir(exist_ok=True)
        for method, policy in firsts.items():
            own = [row for row in rows if CellKey.of(row) == CellKey(*policy.label, row.cell) and row.cell in cells]
            worst = min(own, key=lambda row: row.return_mean)
            path = self.folder / "videos" / f"{re.sub(r'[^A-Za-z0-9]+', '_', method)}.gif"
            settings = self.settings
            film(
                policy.act,
                settings.env_id,
                cells[worst.cell].condition,
                path,
                seed=settings.seed,
                env_kwargs=settings.env_kwargs,
            )
            yield path


def origin_of(policy: LoadedPolicy) -> PolicyOrigin:
    """Say where a policy came from.

    Args:
        policy: The policy.

    Returns:
        Its label, its training steps, and the MLflow run that trained it if a checkpoint names one.
    """
    mark = policy.origin or {}
    return PolicyOrigin(*policy.label, policy.env_steps, mark.get("run_id"), mark.get("tracking_uri"))


def fingerprint(settings: EvaluationSettings, suite: Suite) -> Mapping[str, str | int | float]:
    """Name what makes rows comparable. Policies are not part of it: more of them can be added.

    Args:
        settings: The evaluation.
        suite: Its cells.

    Returns:
        Strings and numbers by name.
    """
    attacks = asdict(settings.attacks) if settings.attacks else None
    return {
        "env_id": settings.env_id,
        "env_kwargs": json.dumps(dict(settings.env_kwargs), sort_keys=True),
        "suite": suite.name,
        "cells": hashlib.sha256(repr(suite.cells).encode()).hexdigest()[:16],
        "episodes": settings.episodes,
        "seed": settings.seed,
        "attacks": json.dumps(attacks, sort_keys=True, default=list),
    }


def append_attack(path: Path, result: AttackResult) -> None:
    """Write down what an attack cost.

    Args:
        path: A CSV file, begun if it is not there.
        result: The attack.
    """
    row = result.row
    candidates = "; ".join(f"{name}: {value:.6g}" for name, value in result.candidates.items())
    values: Iterable[object] = (
        row.method,
        row.policy,
        row.train_seed,
        row.cell,
        row.return_mean,
        result.force_rms,
        result.training_steps,
        result.strongest,
        candidates,
    )
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([ATTACK_COLUMNS, values] if is_new else [values])
