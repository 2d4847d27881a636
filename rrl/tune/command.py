"""``rrl tune``: search the settings of a configuration with Optuna, resumable; hopeless trials are ended early."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rrl.checks import require_at_least
from rrl.cli_errors import check_files, near_configuration
from rrl.evaluation.command import BAD_INPUT
from rrl.options import OptionParser
from rrl.shipped import shipped_file
from rrl.study.plan import LOGGER, StudyRun, plan_runs
from rrl.study.runs import lock_folder, train
from rrl.study.settings import Method, StudySettings, Task, folder_name, read_yaml, section
from rrl.study.tracking import StudyTracking
from rrl.tracking.outbox import first_line
from rrl.tune.objective import METRIC, evaluations, last_return
from rrl.tune.space import plain, read_space, readable

if TYPE_CHECKING:
    from optuna import Study, Trial

SCORE = "tune/score"
"""Metric of what a trial is judged by: of its trainings, and of the search by the number of the trial."""
POLL = 0.5
"""Seconds between two looks at a trial."""
DESCRIPTION = """Search the settings of a configuration: rrl tune conf/trpo_hopper.yaml --space conf/spaces/trpo.yaml

The score of a trial is the mean of its last evaluations (eval/return_mean), or what the `objective` of the space says;
one whose evaluations are clearly behind is ended early. The same command goes on with the trials that are missing.
All of it is in OUTPUT, the trials are MLflow runs too.
"""


def main(args: Sequence[str]) -> int:
    """Tune: 0 if all is well, 1 if every trial failed, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM."""
    try:
        options = make_parser().parse_args(list(args))
        tuning = Tuning(options)
    except ModuleNotFoundError:
        return _fail("`rrl tune` needs Optuna, which `pip install optuna` installs.", 2)
    except BAD_INPUT as error:
        return _fail(" ".join(str(error).split()), 2)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return tuning.run()
    except KeyboardInterrupt:
        return _fail(f"stopped; what is finished is in {tuning.output}, and the same command goes on from there.", 130)


def make_parser() -> OptionParser:
    """Make the parser of the options."""
    parser = OptionParser(prog="rrl tune", description=DESCRIPTION)
    parser.add_argument("config", type=shipped_file, help="configuration of rrl train")
    parser.add_argument("--space", type=shipped_file, required=True, help="YAML file of ranges by dotted setting")
    parser.add_argument("--trials", type=int, default=20, help="finished trials in all (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="environment steps of a trial; as configured if not given")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of a trial, whose scores are averaged")
    parser.add_argument("--output", type=Path, help="folder (default: tuning/<config>)")
    return parser


class Tuning:
    """A validated search; what can be known to be wrong before the first training is a ValueError."""

    def __init__(self, options: Namespace) -> None:
        require_at_least(1, **{"--trials": options.trials, "--seeds": options.seeds})
        if not options.config.is_file():
            raise ValueError(f"There is no configuration {options.config}{near_configuration(options.config)}")
        check_files(["--config", str(options.config)])
        self.options, self.space = options, read_space(options.space)
        self.data = section(read_yaml(options.config), "data", "init_args")
        self.output = options.output or Path("tuning") / options.config.stem
        self.tracking = StudyTracking(self.output)
        reference = self.plan("as configured", {})[0]
        settings = {"configuration": reference.settings, "--seeds": options.seeds}
        if self.space.objective is not None:
            self.space.objective.check(self.data)
        self._lock = lock_folder(self.output)
        self.study = open_study(self.output, {**settings, "--space": repr(self.space)}, reference.steps or 0)

    def plan(self, name: str, values: Mapping[str, Any]) -> list[StudyRun]:
        """Describe the trainings of a trial."""
        study = StudySettings(
            methods={
                name: Method(configs=[str(self.options.config)], settings={"evaluation.every_n_epochs": 1, **values})
            },
            tasks={"task": Task(env_id=str(self.data.get("env_id")))},
            seeds=list(range(self.options.seeds)),
            steps=self.options.steps,
            output=str(self.output),
        )
        return plan_runs(study, None if self.tracking.given_uri else self.tracking.uri)

    def run(self) -> int:
        """Run the trials that are missing, beginning with the configuration as it is, and say which was best."""
        self.tracking.begin(f"rrl tune {self.options.config}  # by {self.space.objective or METRIC}")
        status = "KILLED"
        try:
            self._close_left_open()
            code = self._search() or self._conclude()
            status = "FAILED" if code else "FINISHED"
        except (RuntimeError, ValueError, FloatingPointError) as error:
            code, status = _fail(first_line(error), 1), "FAILED"
        finally:
            files = [self.output / name for name in ("trials.csv", "best.yaml")]
            self.tracking.finish([path for path in files if path.is_file()], status)
        sys.stdout.write(f"{self.tracking.problem or f'all runs: {self.tracking.page}'}\n")
        return code

    def _search(self) -> int:
        from optuna.trial import TrialState

        self._reference()
        done = {TrialState.COMPLETE, TrialState.PRUNED}
        while (finished := sum(trial.state in done for trial in self.study.trials)) < self.options.trials:
            failed = len(self.study.trials) - finished
            if failed > self.options.trials:
                return _fail(f"{failed} trials failed; see {self.output / 'logs'}.", 1)
            self.study.optimize(self.objective, n_trials=1, catch=(RuntimeError,), callbacks=[self._say])
        return 0

    def objective(self, trial: Trial) -> float:
        """Train with the values of a trial; return its score."""
        values = {name: choice.suggest(trial, name) for name, choice in self.space.ranges.items()}
        runs = self.plan(f"trial {trial.number}", values)
        value = self._judge(runs, [self._train(trial, run, report=run.seed == 0) for run in runs])
        self.tracking.log_metrics({SCORE: value}, trial.number)
        return value

    def _reference(self) -> None:
        """Train the configuration as it is, unless that has been done."""
        runs = self.plan("as configured", {})
        codes = [
            train(run, self.tracking.tags_of(run), lambda process: None, threading.Event()).exit_code for run in runs
        ]
        self.reference = self._judge(runs, codes)
        sys.stdout.write(f"as configured: {self.reference:,.1f}\n")
        sys.stdout.flush()

    def _judge(self, runs: Sequence[StudyRun], codes: Sequence[int | None]) -> float:
        """Score trainings that have ended; a RuntimeError if one of them failed."""
        scores = [last_return(run, code) for run, code in zip(runs, codes, strict=True)]
        if self.space.objective is not None:
            folder = self.output / "cells" / folder_name(runs[0].method)
            scores = self.space.objective.scores(self.data, runs, folder)
        for run, score in zip(runs, scores, strict=True):
            self.tracking.log_metrics({SCORE: score}, run.steps_done(), run)
        return statistics.fmean(scores)

    def _train(self, trial: Trial, run: StudyRun, *, report: bool) -> int:
        """Train; return the exit code. A training whose evaluations are clearly behind those of the others is ended."""
        from optuna import TrialPruned

        run.log.parent.mkdir(parents=True, exist_ok=True)
        tags = json.dumps({**self.tracking.tags_of(run), "method": run.method, "trial": str(trial.number)})
        command = [sys.executable, "-m", "rrl.main", "train", *run.arguments, f"{LOGGER}tags", tags]
        with (
            run.log.open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True) as process,
        ):
            try:
                seen = 0
                while process.poll() is None:
                    time.sleep(POLL)
                    returns = evaluations(run)
                    for step, value in [*returns.items()][seen:] if report else ():
                        trial.report(value, step)  # epochs of trials differ, environment steps compare
                    seen = len(returns)
                    if report and seen and trial.should_prune():
                        raise TrialPruned
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
        return process.returncode

    def _close_left_open(self) -> None:
        """Mark trials that were killed as failed, so that others take their place."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)

    def _say(self, study: Study, trial: Any) -> None:
        score = "-" if trial.value is None else f"{trial.value:,.1f}"
        sys.stdout.write(f"trial {trial.number} {trial.state.name.lower()}: {score}  {readable(trial.params)}\n")
        sys.stdout.flush()

    def _conclude(self) -> int:
        from optuna.trial import TrialState

        complete = self.study.get_trials(states=(TrialState.COMPLETE,))
        if not complete:
            return _fail(f"no trial has come to its end; see {self.output / 'logs'}.", 1)
        best, highest = self.study.best_trial, float(self.study.best_value)
        self.study.trials_dataframe().to_csv(self.output / "trials.csv", index=False)
        found = plain(self.space.ranges, best.params)
        (self.output / "best.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")
        verdict = "better than" if highest > self.reference else "not better than"
        sys.stdout.write(
            f"\nbest: trial {best.number} with {highest:,.1f}, {verdict} {self.reference:,.1f} as configured\n"
        )
        sys.stdout.write(f"{readable(best.params)}\nOne seed is no proof: train both with several, `rrl study`.\n")
        return 0


def open_study(folder: Path, settings: Mapping[str, Any], steps: int) -> Study:
    """Open the search of a folder, or begin one; a ValueError if it was begun with other settings.

    Trials of so many environment steps are not ended in the first fifth.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = folder / "optuna.db"
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=steps // 5)
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{file}", study_name="rrl", direction="maximize", load_if_exists=True, pruner=pruner
        )
    except Exception as error:  # whatever the database says
        raise ValueError(f"{file} cannot be opened ({first_line(error)}).") from error
    for name, value in settings.items():
        if study.user_attrs.get(name, value) != value:
            raise ValueError(f"The search in {folder} was begun with another {name}; choose another --output.")
        study.set_user_attr(name, value)
    # Whoever goes on draws anew, not what was drawn before.
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials), n_startup_trials=6)
    return study


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"rrl tune: error: {message}\n")
    return code
