"""An evaluation from its settings to its rows: everything is checked first, and every finished cell is kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from rrl.envs.make import is_native
from rrl.evaluation.attacks.evaluate import AttackResult
from rrl.evaluation.attacks.trained import adversarial_task
from rrl.evaluation.cells.suites import Suite, load_suite
from rrl.evaluation.policies import find_policies, load_source
from rrl.evaluation.report.sources import PolicyOrigin, Provenance
from rrl.evaluation.report.write import ReportFiles, write_report
from rrl.evaluation.rows import CellKey, CellResult
from rrl.evaluation.settings import EvaluationSettings
from rrl.evaluation.store import ResultStore, append_record
from rrl.evaluation.tasks import EvaluationTask, plan, run_tasks
from rrl.evaluation.video import film

ATTACKS_FILE = "attacks.csv"


class Evaluation:
    """A validated evaluation; a policy, suite or folder that is no good is a ValueError of one sentence."""

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings
        self.suite: Suite = load_suite(settings.suite, settings.env_id)
        if settings.video and not is_native(settings.env_id):
            raise ValueError(f"`video` needs a native task, got {settings.env_id}.")
        if settings.attacks is not None:
            adversarial_task(settings.env_id)
        sources = find_policies(settings.policies)
        self.policies = {source: load_source(source, settings.env_id) for source in sources}
        """By source, method by method."""
        self.folder = Path(settings.output)
        self._store = ResultStore(self.folder, fingerprint(settings, self.suite))

    def run(self) -> list[CellResult]:
        """Run what has not been run yet; whatever ends it early, the rows that were finished stay in the folder.

        Returns all rows of these policies in the order of policies and cells, those of earlier runs included.
        """
        tasks = plan(self.settings, self.policies, self.suite.cells, self._store.rows)
        found = run_tasks(tasks, self.policies, workers=self.settings.workers, ray=self.settings.ray)
        costs = self._costs(tasks)
        with tqdm(total=sum(costs.values()), unit="episode", desc="evaluating", disable=not tasks) as bar:
            for item in found:
                if isinstance(item, AttackResult):
                    append_record(self.folder / ATTACKS_FILE, item.record)
                row = item.row if isinstance(item, AttackResult) else item
                self._store.add(row)
                bar.update(costs[row.key])
        # The order does not depend on who was ready first.
        everything = self._costs(plan(self.settings, self.policies, self.suite.cells, {}))
        return [self._store.rows[key] for key in everything if key in self._store.rows]

    def _costs(self, tasks: Sequence[EvaluationTask]) -> dict[CellKey, int]:
        """Return the keys of the rows that tasks give, in their order, and what each takes."""
        return {
            CellKey(self.policies[task.source].label, name): cost for task in tasks for name, cost in task.costs.items()
        }

    def report(self, rows: Sequence[CellResult], command: str) -> tuple[ReportFiles, Provenance]:
        """Write the report of what :meth:`run` returned, with the command line for whoever wants to repeat it."""
        attacks = self.settings.attacks
        budget = () if attacks is None or attacks.restarts == 0 else (attacks.budget,)
        origins = tuple(
            PolicyOrigin(*policy.label, policy.env_steps, policy.mark.get("run_id"), policy.mark.get("tracking_uri"))
            for policy in self.policies.values()
        )
        provenance = Provenance(command, self.settings.seed, origins, (*self.suite.notes, *budget))
        return write_report(rows, self.folder, provenance=provenance, baseline=self.settings.baseline), provenance

    def film_worst(self, rows: Sequence[CellResult]) -> Iterator[Path]:
        """Film each method's first policy in the cell of the suite where it does worst, by what :meth:`run` returned.

        Each file is yielded when it is there. A machine that cannot draw raises a ``VideoError``.
        """
        cells = {cell.name: cell for cell in self.suite.cells}
        firsts = {policy.label.method: policy for policy in reversed(self.policies.values())}
        (self.folder / "videos").mkdir(exist_ok=True)
        for method, policy in firsts.items():
            own = [row for row in rows if row.label == policy.label and row.cell in cells]
            worst = cells[min(own, key=lambda row: row.return_mean).cell]
            path = self.folder / "videos" / f"{re.sub(r'[^A-Za-z0-9]+', '_', method)}.gif"
            film(policy.act, self.settings.trial, worst.condition, path)
            yield path


def fingerprint(settings: EvaluationSettings, suite: Suite) -> Mapping[str, str | int | float]:
    """Name what makes rows comparable. Policies are not part of it: more of them can be added."""
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
