"""The command line of a robustness evaluation: one YAML file describes it, and what is wrong is said in one line."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium
from jsonargparse import ArgumentError, ArgumentParser
from tqdm import tqdm

from rrl.cli_errors import check_files, refuse_hidden_classes, restrict_classes
from rrl.cli_sentences import one_sentence
from rrl.cluster import WorkerError
from rrl.envs.make import is_native
from rrl.evaluation.attacks.evaluate import AttackResult
from rrl.evaluation.attacks.trained import battlefield
from rrl.evaluation.cells.suites import Suite, load_suite
from rrl.evaluation.policies import LoadedPolicy, find_policies, load_source, require_fit
from rrl.evaluation.report.films import Films, Scene, caption, worst_cell
from rrl.evaluation.report.page import PolicyOrigin, Provenance
from rrl.evaluation.report.verdict import format_summary
from rrl.evaluation.report.write import ReportFiles, log_report, write_report
from rrl.evaluation.rows import CellKey, CellResult
from rrl.evaluation.settings import EvaluationSettings
from rrl.evaluation.store import ResultStore, append_record
from rrl.evaluation.tasks import EvaluationTask, plan, run_tasks
from rrl.evaluation.video import VideoError, film

ATTACKS_FILE = "attacks.csv"


class Evaluation:
    """A validated evaluation; a policy, suite or folder that is no good is a ValueError of one sentence."""

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings
        self.suite: Suite = load_suite(settings.suite, settings.trial)
        if settings.video and not is_native(settings.env_id):
            raise ValueError(f"`video` needs a native task, got {settings.env_id}.")
        if settings.attacks is not None:
            battlefield(settings.trial)
        sources = find_policies(settings.policies)
        self.policies = {source: noted(load_source(source), settings.env_kwargs) for source in sources}
        """By source, method by method."""
        for policy in self.policies.values():
            require_fit(policy, settings.trial)
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
        """Write the report on what :meth:`run` returned; ``command`` is what a reader repeats it with."""
        attacks = self.settings.attacks
        budget = () if attacks is None or attacks.restarts == 0 else (attacks.budget,)
        origins = tuple(
            PolicyOrigin(
                *policy.label,
                policy.env_steps,
                policy.mark.get("run_id"),
                policy.mark.get("tracking_uri"),
                policy.note,
                policy.physics,
            )
            for policy in self.policies.values()
        )
        provenance = Provenance(command, self.settings.seed, origins, (*self.suite.notes, *budget))
        films = self.film_worst(rows) if self.settings.video else None
        files = write_report(rows, self.folder, provenance=provenance, baseline=self.settings.baseline, films=films)
        return files, provenance

    def film_worst(self, rows: Sequence[CellResult]) -> Films | None:
        """Film each method's first policy in the cell of the suite where these do worst on average.

        Where nothing can be drawn that is said on the screen, and there are none.
        """
        firsts = {policy.label.method: policy for policy in reversed(self.policies.values())}
        policies = {method: firsts[method] for method in dict.fromkeys(self.settings.policies) if method in firsts}
        cells = {cell.name: cell for cell in self.suite.cells}
        own = [row for row in rows if row.label in {policy.label for policy in policies.values()}]
        worst = worst_cell(own, cells)
        here = {row.method: row for row in own if row.cell == worst}
        acts = {method: policy.act for method, policy in policies.items() if method in here}
        try:
            found = film(acts, self.settings.trial, cells[worst].condition)
        except VideoError as error:  # everything else is there
            sys.stdout.write(f"{error}\n")
            return None
        scenes = [
            Scene(
                method,
                caption(
                    each.episode.total,
                    each.seconds,
                    failed=each.episode.failed,
                    mean=here[method].return_mean,
                    episodes=here[method].episodes,
                ),
                each.image,
            )
            for method, each in found.items()
        ]
        return Films(worst, tuple(scenes))


def fingerprint(settings: EvaluationSettings, suite: Suite) -> Mapping[str, str | int | float]:
    """Name what makes rows comparable. Policies are not part of it: more of them can be added."""
    attacks = asdict(settings.attacks) if settings.attacks else None
    return {
        "env_id": settings.env_id,
        "env_kwargs": json.dumps(dict(settings.env_kwargs), sort_keys=True),
        **{name: value for name, value in _special(settings).items() if value is not None},
        "suite": suite.name,
        "cells": hashlib.sha256(repr(suite.cells).encode()).hexdigest()[:16],
        "episodes": settings.episodes,
        "seed": settings.seed,
        "attacks": json.dumps(attacks, sort_keys=True, default=list),
    }


def _special(settings: EvaluationSettings) -> dict[str, str | int | None]:
    """What folders of results name only where it was given: older ones know nothing of it."""
    return {
        "wrappers": json.dumps(dict(settings.wrappers)) if settings.wrappers else None,
        "max_episode_steps": settings.max_episode_steps,
        "adversary": json.dumps(asdict(settings.adversary)) if settings.adversary else None,
        "push_body": settings.push_body,
    }


def noted(policy: LoadedPolicy, env_kwargs: Mapping[str, Any]) -> LoadedPolicy:
    """Note of a policy that it was trained with other keywords of the environment, such as another robot."""
    trained, here = dict(policy.worlds.get("env_kwargs") or {}), dict(env_kwargs)
    if not policy.worlds or trained == here:
        return policy
    return replace(
        policy, note=f"{policy.label.policy} was trained with `env_kwargs` {trained}, the evaluation has {here}."
    )


BAD_INPUT = (ArgumentError, ValueError, TypeError, OSError, gymnasium.error.Error)


def run_command(args: Sequence[str]) -> int:
    """Evaluate as the arguments say; the exit code is 1 where a process was lost, 2 for bad input, 130 after Ctrl-C."""
    parser = make_parser()
    try:
        settings = read_settings(parser, args)
    except BAD_INPUT as error:
        keys = [action.dest for action in parser._actions]
        return _fail(one_sentence(str(error), keys, []), 2)
    try:
        evaluation = Evaluation(settings)
    except BAD_INPUT as error:
        # Ours are sentences already, and what they quote must not be taken for a complaint of the parser.
        return _fail(" ".join(str(error).split()), 2)
    for note in (*evaluation.suite.notes, *(policy.note for policy in evaluation.policies.values() if policy.note)):
        sys.stdout.write(f"note: {note}\n")
    try:
        rows = evaluation.run()
        files, provenance = evaluation.report(rows, shlex.join(["python", "evaluate.py", *args]))
    except KeyboardInterrupt:
        return _fail(f"stopped; {_resume(evaluation)}", 130)
    except (WorkerError, ValueError, FloatingPointError) as error:
        return _fail(f"{error} {_resume(evaluation)}", 1)
    sys.stdout.write(f"{format_summary(files.summary)}\n\nreport: {files.html}\n")
    sys.stdout.writelines(f"{sentence}\n" for sentence in log_report(files, provenance))
    return 0


def make_parser() -> ArgumentParser:
    """Make the parser of a configuration: an option for each setting; errors are exceptions, abbreviations mistakes."""
    restrict_classes()
    parser = ArgumentParser(prog="evaluate.py", description=__doc__, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file such as conf/evaluation/walker.yaml")
    parser.add_class_arguments(EvaluationSettings)
    return parser


def read_settings(parser: ArgumentParser, args: Sequence[str]) -> EvaluationSettings:
    """Read a configuration; what is wrong with it raises as the parser and the settings do."""
    check_files(args)
    parsed = parser.parse_args(list(args))
    refuse_hidden_classes(parsed)
    values: dict[str, Any] = vars(parser.instantiate_classes(parsed))
    return EvaluationSettings(**{name: value for name, value in values.items() if name != "config"})


def _resume(evaluation: Evaluation) -> str:
    return f"The finished cells are in {evaluation.folder}; the same command goes on from there."


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"evaluate.py: error: {message}\n")
    return code
