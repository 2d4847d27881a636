"""What a trial is judged by: its last evaluations, or the worst cells of a suite of perturbed worlds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rrl.checks import require_at_least, require_within
from rrl.cvar import empirical_cvar
from rrl.evaluation.cells.suites import load_suite
from rrl.evaluation.command import Evaluation
from rrl.evaluation.report.summary import perturbed
from rrl.evaluation.settings import EvaluationSettings
from rrl.evaluation.store import to_frame
from rrl.study.plan import StudyRun
from rrl.study.settings import judged_place
from rrl.tracking import METRICS_FILE
from rrl.tracking.outbox import read_lines

METRIC = "eval/return_mean"
LAST_EVALUATIONS = 3
"""The score of a training is the mean of so many: one alone is luck."""


@dataclass(frozen=True, kw_only=True)
class Cvar:
    """The mean return of the last policy over the worst cells of a suite; the higher, the more robust."""

    suite: str
    """Name of a suite in ``conf/evaluation/suites``, or path of a YAML file."""
    alpha: float
    """Fraction of the perturbed cells that form the tail, in (0, 1]; with 1 it is the mean over all of them."""
    episodes: int = 5
    """Episodes of each cell."""
    seed: int = 0
    """Seed of the episodes, the same for all trials."""

    def __post_init__(self) -> None:
        require_within("(0, 1]", alpha=self.alpha)
        require_at_least(1, episodes=self.episodes)
        require_at_least(0, seed=self.seed)

    def check(self, task: Mapping[str, Any]) -> None:
        """Raise a ValueError of one sentence where the suite has no perturbed worlds for a task; see :meth:`scores`."""
        if len(load_suite(self.suite, self._settings(task, {}, Path()).trial).cells) < 2:
            raise ValueError(f"`suite` must have perturbed cells, got {self.suite!r}.")

    def scores(self, task: Mapping[str, Any], runs: Sequence[StudyRun], folder: Path) -> list[float]:
        """Judge the last policy of each run; finished cells are in the folder, and are not run again.

        Args:
            task: Settings of the data of the trainings, of which the evaluation takes over the environment.
            runs: Finished trainings.
            folder: Where the cells are kept.
        """
        policies = {run.name: [str(run.checkpoint)] for run in runs}
        cells = perturbed(to_frame(Evaluation(self._settings(task, policies, folder)).run()))
        return [tail_return(cells[cells.method == run.name].return_mean.tolist(), self.alpha) for run in runs]

    def _settings(self, task: Mapping[str, Any], policies: Mapping[str, list[str]], folder: Path) -> EvaluationSettings:
        place = judged_place({**task, "env_id": str(task.get("env_id"))})
        place.pop("adversary", None)  # nobody attacks
        return EvaluationSettings(
            policies=policies,
            suite=self.suite,
            episodes=self.episodes,
            seed=self.seed,
            output=str(folder),
            **place,
        )


def tail_return(returns: Sequence[float], alpha: float) -> float:
    """Average the worst ``alpha`` of the mean returns of cells, the last of them in part.

    Example:
        >>> tail_return([10.0, 30.0, 20.0, 40.0], alpha=0.5)
        15.0
    """
    return float(empirical_cvar(torch.tensor(returns, dtype=torch.float64), alpha))


def last_return(run: StudyRun, exit_code: int | None) -> float:
    """Average the last evaluations of a training; a RuntimeError if it has failed or has none."""
    returns = [*evaluations(run).values()]
    if exit_code != 0 or not returns:
        raise RuntimeError(
            f"{run.name} ended with exit code {exit_code} and {len(returns)} evaluations, see {run.log}."
        )
    return statistics.fmean(returns[-LAST_EVALUATIONS:])


def evaluations(run: StudyRun) -> dict[int, float]:
    """Read the evaluations of a training so far, by its environment steps."""
    records = read_lines(run.folder / METRICS_FILE)
    return {record["step"]: record["metrics"][METRIC] for record in records if METRIC in record["metrics"]}
