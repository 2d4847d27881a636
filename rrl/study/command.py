"""The command line of a study: one YAML file describes it, and what is wrong is said in one line."""

from __future__ import annotations

import csv
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from rrl.cli_errors import check_files, refuse_hidden_classes, restrict_classes
from rrl.cli_sentences import one_sentence
from rrl.cluster import WorkerError, require_address
from rrl.configuration import list_modules
from rrl.evaluation.attacks.trained import battlefield
from rrl.evaluation.cells.suites import load_suite
from rrl.evaluation.command import BAD_INPUT, Evaluation
from rrl.evaluation.report.verdict import format_summary
from rrl.shipped import with_shipped
from rrl.study.curves import draw_curves, read_curves
from rrl.study.plan import StudyError, StudyRun, plan_runs
from rrl.study.queue import TrainingQueue
from rrl.study.runs import RunRecord, lock_folder, read_record
from rrl.study.settings import StudySettings, check_form, evaluation_settings, is_training, read_yaml, study_of_config
from rrl.study.tracking import StudyTracking

DESCRIPTION = """Train methods x tasks x seeds, evaluate the policies and write the report: rrl study FILE.

FILE is a study (conf/studies/*.yaml), or any configuration of train.py, which is then trained with --seeds 0..9.
What is finished is skipped: after an interruption the same command goes on.
"""


class Study:
    """A validated study; anything that can be known to be wrong before the first training is a ValueError."""

    def __init__(self, settings: StudySettings, command: str) -> None:
        self.settings, self.command = settings, command
        self.output = Path(settings.output)
        if (suite := settings.evaluation.suite) is not None:
            for task in settings.tasks:
                trial = evaluation_settings(settings, suite, task, {}).trial
                load_suite(suite, trial)
                if settings.evaluation.attacks is not None:
                    battlefield(trial)
        if settings.ray is not None:
            require_address(settings.ray)
        self.tracking = StudyTracking(self.output)
        self.runs = plan_runs(settings, None if self.tracking.given_uri else self.tracking.uri)
        self._lock = lock_folder(self.output)
        self.records = {run: record for run in self.runs if (record := read_record(run))}

    def run(self) -> int:
        """Train, evaluate, report; the exit code is 1 if a training has failed."""
        self.tracking.begin(self.command)
        status = "KILLED"
        try:
            self.train()
            self.draw()
            self.evaluate()
            status = "FAILED" if self.failed else "FINISHED"
        finally:
            self.tracking.finish([path for path in self.output.glob("*.*") if path.suffix in {".csv", ".png"}], status)
            sys.stdout.write(f"{self.tracking.problem or f'all runs: {self.tracking.page}'}\n")
        return 1 if self.failed else 0

    @property
    def failed(self) -> list[StudyRun]:
        """Trainings that have not come to their end."""
        return [run for run in self.runs if run not in self.records or self.records[run].exit_code != 0]

    def close(self) -> None:
        """Let other studies into the folder."""
        os.close(self._lock)

    def train(self) -> None:
        """Run the trainings that have not finished, and name those that fail."""
        todo = self.failed
        begun = sum(run.checkpoint.is_file() for run in todo)
        done = len(self.runs) - len(todo)
        sys.stdout.write(
            f"{len(self.runs)} trainings: {done} finished before, {begun} go on, {len(todo) - begun} new\n"
        )
        budgets = {run.method: run.steps for run in self.runs}
        if self.settings.steps is not None and len(set(budgets.values())) > 1:
            each = ", ".join(f"{method} {steps:,}" for method, steps in budgets.items())
            sys.stdout.write(f"Warning: whole epochs of different length make different budgets of steps: {each}.\n")
        sys.stdout.flush()
        tags = {run: self.tracking.tags_of(run) for run in todo}
        for run, record in TrainingQueue(self.settings.workers, self.settings.ray).run(todo, tags):
            self.records[run] = record
            if record.exit_code is None:
                tqdm.write(f"{run.name} was given up, since its worker processes were killed again and again.")
            elif record.exit_code != 0:
                tqdm.write(f"{run.name} failed with exit code {record.exit_code}: {last_line(run.log)} See {run.log}.")
            write_runs(self.output / "runs.csv", self.records)

    def draw(self) -> None:
        """Draw the learning curves of all that has been trained."""
        curves = read_curves([run for run in self.runs if run.folder.is_dir()], self.settings.curves)
        curves.to_csv(self.output / "curves.csv", index=False, float_format="%.6g")
        for metric in {*self.settings.curves} - {*curves.metric} if len(self.failed) < len(self.runs) else ():
            sys.stdout.write(f"learning curves: no run has logged {metric}.\n")
        if len(curves):
            for path in draw_curves(curves, list(self.settings.methods), self.output):
                sys.stdout.write(f"learning curves: {path}\n")

    def evaluate(self) -> None:
        """Evaluate the finished policies task by task, and write a report for each."""
        if (suite := self.settings.evaluation.suite) is None:
            return
        list_modules(module for run in self.runs for module in run.modules)
        for task in self.settings.tasks:
            policies = self._policies(task)
            if not policies:
                sys.stdout.write(f"{task}: no training has finished, so there is nothing to evaluate.\n")
                continue
            evaluation = Evaluation(evaluation_settings(self.settings, suite, task, policies))
            rows = evaluation.run()
            files, provenance = evaluation.report(rows, self.command)
            sys.stdout.write(f"\n{task}\n{format_summary(files.summary)}\n\nreport: {files.html}\n")
            self.tracking.log_report(task, files, provenance)

    def _policies(self, task: str) -> dict[str, list[str]]:
        """Checkpoints by method; a method without a finished training is named and left out."""
        found: dict[str, list[str]] = {method: [] for method in self.settings.methods}
        for run in self.runs:
            if run.task == task and run not in self.failed:
                found[run.method].append(str(run.checkpoint))
        for method, policies in found.items():
            if not policies:
                sys.stdout.write(f"{task}: no training of {method} has finished; the report leaves it out.\n")
        return {method: policies for method, policies in found.items() if policies}


def main(args: Sequence[str]) -> int:
    """Run a study: 0 if all is well, 1 if a training failed, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM."""
    parser = make_parser()
    given = list(args)
    if given and not given[0].startswith("-"):
        given = ["--config", *given]
    given = with_shipped(given)
    try:
        settings = read_settings(parser, given)
    except BAD_INPUT as error:
        return _fail(one_sentence(str(error), [action.dest for action in parser._actions], []), 2)
    try:
        study = Study(settings, shlex.join(["rrl", "study", *args]))
    except (*BAD_INPUT, WorkerError) as error:
        return _fail(" ".join(str(error).split()), 2)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return study.run()
    except KeyboardInterrupt:
        return _fail(f"stopped; what is finished is in {study.output}, and the same command goes on from there.", 130)
    except (WorkerError, StudyError, ValueError, FloatingPointError) as error:
        return _fail(f"{error} What is finished is in {study.output}; the same command goes on from there.", 1)
    finally:
        study.close()


def make_parser() -> ArgumentParser:
    """Make the parser of a study: an option for each setting; errors are exceptions, abbreviations mistakes."""
    restrict_classes()
    parser = ArgumentParser(prog="rrl study", description=DESCRIPTION, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="the FILE")
    parser.add_class_arguments(StudySettings)
    return parser


def read_settings(parser: ArgumentParser, args: Sequence[str]) -> StudySettings:
    """Read the settings of a study, or make those of a single configuration of ``train.py``."""
    check_files(args)
    content = read_yaml(Path(args[1])) if len(args) > 1 and args[0] == "--config" else {}
    check_form(content)
    if is_training(content):
        base = study_of_config(Path(args[1]), content)
        defaults = [f"--{name}={value}" for name, value in base.items() if isinstance(value, str)]
        parser.set_defaults({name: value for name, value in base.items() if not isinstance(value, str)})
        args = [*defaults, *args[2:]]
    elif "--help" not in args and "-h" not in args and not any(arg.startswith("--config") for arg in args):
        raise ValueError("`rrl study` needs a file such as conf/studies/smoke.yaml.")
    parsed = parser.parse_args(list(args))
    refuse_hidden_classes(parsed)
    values: dict[str, Any] = vars(parser.instantiate_classes(parsed))
    return StudySettings(**{name: value for name, value in values.items() if name != "config"})


def write_runs(path: Path, records: Mapping[StudyRun, RunRecord]) -> None:
    """Write a table of all trainings so far: how each ended, how long it took."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "method", "seed", "exit_code", "seconds", "env_steps"])
        for run, record in records.items():
            writer.writerow([run.task, run.method, run.seed, record.exit_code, record.seconds, run.steps_done()])


def last_line(path: Path) -> str:
    """Return the last line that is not blank of what a training has printed."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing."


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"rrl study: error: {message}\n")
    return code
