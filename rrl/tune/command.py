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
from rrl.cli_errors import ConfigurationError, near_configuration
from rrl.options import OptionParser
from rrl.shipped import shipped_file
from rrl.study.plan import LOGGER, StudyRun, plan_runs
from rrl.study.runs import train
from rrl.study.settings import Method, StudySettings, Task, read_yaml
from rrl.study.tracking import StudyTracking
from rrl.tracking import METRICS_FILE
from rrl.tracking.outbox import first_line, read_lines
from rrl.tune.space import plain, read_space, readable

if TYPE_CHECKING:
    from optuna import Study, Trial

METRIC = "eval/return_mean"
LAST_EVALUATIONS = 3
"""The score of a trial is the mean of so many: one alone is luck."""
POLL = 0.5
"""Seconds between two looks at a trial."""
DESCRIPTION = """Search the settings of a configuration: rrl tune conf/trpo_hopper.yaml --space conf/spaces/trpo.yaml

The score of a trial is the mean of its last evaluations (eval/return_mean); one that is clearly behind is ended early.
The same command goes on with the trials that are missing. All of it is in OUTPUT, the trials are MLflow runs too.
"""


def main(args: Sequence[str]) -> int:
    """Tune: 0 if all is well, 1 if every trial failed, 2 for bad input, 130 after Ctrl-C."""
    try:
        options = make_parser().parse_args(list(args))
        tuning = Tuning(options)
    except (ConfigurationError, ValueError, OSError, ImportError) as error:
        return _fail(first_line(error), 2)
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
    """A validated search."""

    def __init__(self, options: Namespace) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ImportError("`rrl tune` needs Optuna, which `pip install 'rrl[tune]'` installs.") from error
        require_at_least(1, **{"--trials": options.trials, "--seeds": options.seeds})
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if not options.config.is_file():
            raise ValueError(f"There is no configuration {options.config}{near_configuration(options.config)}")
        self.space = read_space(options.space)
        self.options = options
        self.output = options.output or Path("tuning") / options.config.stem
        self.output.mkdir(parents=True, exist_ok=True)
        self.tracking = StudyTracking(self.output)
        self.plan("as configured", {})  # whose files and sizes are checked here
        storage = f"sqlite:///{self.output / 'optuna.db'}"
        pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
        self.study: Study = optuna.create_study(
            storage=storage, study_name="rrl", direction="maximize", load_if_exists=True, pruner=pruner
        )
        # Whoever goes on draws anew, not what was drawn before.
        self.study.sampler = optuna.samplers.TPESampler(seed=len(self.study.trials), n_startup_trials=6)

    def plan(self, name: str, values: Mapping[str, Any]) -> list[StudyRun]:
        """Describe the trainings of a trial."""
        content = read_yaml(self.options.config)
        env_id = ((content.get("data") or {}).get("init_args") or {}).get("env_id", "task")
        study = StudySettings(
            methods={
                name: Method(configs=[str(self.options.config)], settings={"evaluation.every_n_epochs": 1, **values})
            },
            tasks={"task": Task(env_id=env_id)},
            seeds=list(range(self.options.seeds)),
            steps=self.options.steps,
            output=str(self.output),
        )
        return plan_runs(study, None if self.tracking.given_uri else self.tracking.uri)

    def run(self) -> int:
        """Run the trials that are missing, beginning with the configuration as it is, and say which was best."""
        from optuna.trial import TrialState

        self.tracking.begin(f"rrl tune {self.options.config}")
        self._close_left_open()
        try:
            self._reference()
        except RuntimeError as error:
            return _fail(first_line(error), 1)
        done = {TrialState.COMPLETE, TrialState.PRUNED}
        while (finished := sum(trial.state in done for trial in self.study.trials)) < self.options.trials:
            failed = len(self.study.trials) - finished
            if failed > self.options.trials:
                return _fail(f"{failed} trials failed; see {self.output / 'logs'}.", 1)
            self.study.optimize(self.objective, n_trials=1, catch=(RuntimeError,), callbacks=[self._say])
        return self._conclude()

    def objective(self, trial: Trial) -> float:
        """Train with the values of a trial; return its score."""
        values = {name: choice.suggest(trial, name) for name, choice in self.space.items()}
        runs = self.plan(f"trial {trial.number}", values)
        return statistics.fmean(self._train(trial, run, report=run.seed == 0) for run in runs)

    def _reference(self) -> None:
        """Train the configuration as it is, unless that has been done."""
        scores = []
        for run in self.plan("as configured", {}):
            record = train(run, self.tracking.tags_of(run), lambda process: None, threading.Event())
            scores.append(score(run, record.exit_code))
        self.reference = statistics.fmean(scores)
        sys.stdout.write(f"as configured: {self.reference:,.1f}\n")
        sys.stdout.flush()

    def _train(self, trial: Trial, run: StudyRun, *, report: bool) -> float:
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
                    for number in range(seen, len(returns) if report else 0):
                        trial.report(returns[number], number)
                    seen = len(returns)
                    if report and seen and trial.should_prune():
                        raise TrialPruned
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
        return score(run, process.returncode)

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
        found = plain(self.space, best.params)
        (self.output / "best.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")
        verdict = "better than" if highest > self.reference else "not better than"
        sys.stdout.write(
            f"\nbest: trial {best.number} with {highest:,.1f}, {verdict} {self.reference:,.1f} as configured\n"
        )
        sys.stdout.write(f"{readable(best.params)}\nOne seed is no proof: train both with several, `rrl study`.\n")
        self.tracking.finish([self.output / "trials.csv", self.output / "best.yaml"], "FINISHED")
        sys.stdout.write(f"{self.tracking.problem or f'all runs: {self.tracking.page}'}\n")
        return 0


def score(run: StudyRun, exit_code: int | None) -> float:
    """Average the last evaluations of a training; a RuntimeError if it has failed or has none."""
    returns = evaluations(run)
    if exit_code != 0 or not returns:
        raise RuntimeError(
            f"{run.name} ended with exit code {exit_code} and {len(returns)} evaluations, see {run.log}."
        )
    return statistics.fmean(returns[-LAST_EVALUATIONS:])


def evaluations(run: StudyRun) -> list[float]:
    """Read the evaluations of a training so far."""
    records = read_lines(run.folder / METRICS_FILE)
    return [record["metrics"][METRIC] for record in records if METRIC in record["metrics"]]


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"rrl tune: error: {message}\n")
    return code
