"""The command line of a robustness evaluation: one YAML file describes it, and what is wrong is said in one line."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
from jsonargparse import ArgumentError, ArgumentParser

from rrl.cli_errors import one_sentence
from rrl.evaluation.report.verdict import format_summary
from rrl.evaluation.report.write import log_report
from rrl.evaluation.run import Evaluation
from rrl.evaluation.settings import EvaluationSettings
from rrl.evaluation.tasks import WorkerError
from rrl.evaluation.video import VideoError

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
    for note in evaluation.suite.notes:
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
    if evaluation.settings.video:
        try:
            sys.stdout.writelines(f"video: {path}\n" for path in evaluation.film_worst(rows))
        except VideoError as error:  # everything else is there
            sys.stdout.write(f"{error}\n")
    return 0


def make_parser() -> ArgumentParser:
    """Make the parser of a configuration: an option for each setting; errors are exceptions, abbreviations mistakes."""
    parser = ArgumentParser(prog="evaluate.py", description=__doc__, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file such as conf/evaluation/walker.yaml")
    parser.add_class_arguments(EvaluationSettings)
    return parser


def read_settings(parser: ArgumentParser, args: Sequence[str]) -> EvaluationSettings:
    """Read a configuration; what is wrong with it raises as the parser and the settings do."""
    values: dict[str, Any] = vars(parser.instantiate_classes(parser.parse_args(list(args))))
    return EvaluationSettings(**{name: value for name, value in values.items() if name != "config"})


def _resume(evaluation: Evaluation) -> str:
    return f"The finished cells are in {evaluation.folder}; the same command goes on from there."


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"evaluate.py: error: {message}\n")
    return code
