"""The report of a robustness evaluation: a folder of tables, figures and one page, and the same in MLflow."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rrl.evaluation.report.films import Films
from rrl.evaluation.report.page import Provenance
from rrl.evaluation.report.summary import MEASURES, POLICY, Summary, summarize
from rrl.evaluation.rows import CellResult
from rrl.evaluation.store import ResultStoreError, to_frame, write_rows
from rrl.tracking.addresses import database_uri, lacks_database
from rrl.tracking.outbox import BoundedCaller, first_line
from rrl.tracking.provenance import is_strange
from rrl.tracking.remote_run import connect, experiment_id

if TYPE_CHECKING:
    from pandas import DataFrame, Series

NAME = "robustness"
"""Of the MLflow run of a report, of its metrics, and of the experiment of policies that no MLflow run has trained."""
LONGEST_UPLOAD = 60.0
"""Seconds for one MLflow run with all files of a report."""


class ReportFiles(NamedTuple):
    """What was written: the page, all rows twice, the numbers of policies and methods (CSV), and figures (SVG)."""

    html: Path
    csv: Path
    parquet: Path
    policies: Path
    methods: Path
    figures: tuple[Path, ...]
    summary: Summary

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files but the figures, which have a folder of their own."""
        return self.html, self.csv, self.parquet, self.policies, self.methods


def write_report(
    rows: Sequence[CellResult],
    folder: str | os.PathLike[str],
    *,
    provenance: Provenance,
    baseline: str | None = None,
    films: Films | None = None,
) -> ReportFiles:
    """Write everything that an evaluation of one environment has to say; ResultStoreError if a file cannot be written.

    Attacks and unfinished evaluations are welcome. The folder is made; files of an earlier report are replaced. Other
    methods are compared with the ``baseline``, the first one by default.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one result, got none.")
    cells = to_frame(rows)
    if len(tasks := sorted(cells.env_id.unique())) > 1:
        raise ValueError(f"`rows` must be of one environment, since rewards differ in scale; got {', '.join(tasks)}.")
    names = list(cells.method.unique())
    if baseline is not None and baseline not in names:
        raise ValueError(f"`baseline` must be one of the methods {', '.join(names)}, got {baseline!r}.")
    try:
        return _write(rows, cells, Path(folder), provenance, baseline=baseline or names[0], films=films)
    except OSError as error:
        raise ResultStoreError(f"The report in {folder} cannot be written: {error.strerror or error}.") from error


def log_report(files: ReportFiles, provenance: Provenance) -> list[str]:
    """Log a report, with all its files, to MLflow.

    Each policy whose training run is known gets a child run beneath that, with its own numbers as ``robustness/*``. All
    others share one run, with the numbers of their methods as ``robustness/<method>/*``. ``MLFLOW_TRACKING_URI`` says
    where; without it a child goes to where its parent is, and the shared run to ``mlflow.db`` in the working folder.

    Returns sentences that say where it went, or why not: neither an unreachable server nor a run that is gone is an
    error.
    """
    sentences: dict[str, None] = {}
    failed: set[str] = set()
    for target in _targets(files.summary, provenance):
        if target.uri not in failed:
            sentence, reachable = _log(target, files)
            sentences[sentence] = None
            if not reachable:
                failed.add(target.uri)
    return list(sentences)


def method_metrics(numbers: Series) -> dict[str, float]:
    """Name the known numbers of a method, a line of ``Summary.methods``, in characters that MLflow accepts."""
    name = re.sub(r"[^A-Za-z0-9_ -]", "_", str(numbers.name)) or "_"
    return known_metrics(f"{NAME}/{name}", numbers.drop("seeds"))


def known_metrics(prefix: str, numbers: Series) -> dict[str, float]:
    """Name the finite ones of several numbers ``<prefix>/<name>``, as metrics."""
    return {f"{prefix}/{name}": float(value) for name, value in numbers.items() if math.isfinite(value)}


def _write(
    rows: Sequence[CellResult],
    cells: DataFrame,
    folder: Path,
    provenance: Provenance,
    *,
    baseline: str,
    films: Films | None,
) -> ReportFiles:
    # Imported here, since Matplotlib and Jinja take a second that a misspelt option should not wait for.
    from rrl.evaluation.report.figures import draw_report_figures
    from rrl.evaluation.report.page import render_html

    summary = summarize(cells)
    figures = draw_report_figures(cells, summary, baseline, provenance.training_ranges())
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    drawn = {folder / "figures" / f"{figure.name}.svg": figure.svg for figure in figures}
    for path, svg in drawn.items():
        path.write_bytes(svg)
    html, policies, methods = (folder / name for name in ("report.html", "policies.csv", "methods.csv"))
    html.write_text(render_html(cells, summary, figures, provenance, baseline, films), encoding="utf-8")
    table = summary.policies.reset_index()
    steps = [provenance.origin_of(*key).env_steps for key in summary.policies.index]
    table.insert(len(POLICY), "training_steps", steps)
    table.to_csv(policies, index=False)
    summary.methods.to_csv(methods)
    return ReportFiles(
        html=html,
        csv=write_rows(rows, folder / "results.csv"),
        parquet=write_rows(rows, folder / "results.parquet"),
        policies=policies,
        methods=methods,
        figures=tuple(drawn),
        summary=summary,
    )


class _Target(NamedTuple):
    """An MLflow run that is to be made, beneath its parent, if that is not empty."""

    uri: str
    parent: str
    metrics: Mapping[str, float]
    step: int


def _targets(summary: Summary, provenance: Provenance) -> list[_Target]:
    asked = os.environ.get("MLFLOW_TRACKING_URI")
    children: list[_Target] = []
    shared: dict[str, float] = {}
    for key, numbers in summary.policies.iterrows():
        origin = provenance.origin_of(*key)
        uri = asked or origin.tracking_uri
        if origin.run_id and uri:
            metrics = known_metrics(NAME, numbers[list(MEASURES)])
            children.append(_Target(uri, origin.run_id, metrics, origin.env_steps or 0))
        else:
            shared |= method_metrics(summary.methods.loc[origin.method])
    here = database_uri(Path("mlflow.db").resolve())
    return [*children, *([_Target(asked or here, "", shared, 0)] if shared else [])]


def _log(target: _Target, files: ReportFiles) -> tuple[str, bool]:
    """Make one run; return what to say, and whether its MLflow answered."""
    if is_strange(target.uri):
        return (
            f"Not logged: a checkpoint names the server {target.uri}; set MLFLOW_TRACKING_URI to it to log there.",
            False,
        )
    if lacks_database(target.uri):
        return f"Not logged: there is no database at {target.uri}.", False
    try:
        run_id = BoundedCaller().call(lambda: _make_run(target, files), LONGEST_UPLOAD)
    except Exception as error:  # the files are there already
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return f"Not logged: {target.uri} does not know the run {target.parent}.", True
        return f"Not logged: {target.uri} cannot be reached ({first_line(error)}).", False
    place = f", beneath {target.parent}" if target.parent else ""
    return f"Logged to MLflow run {run_id} at {target.uri}{place}.", True


def _make_run(target: _Target, files: ReportFiles) -> str:
    from mlflow.entities import Metric

    client = connect(target.uri)
    tags = {"mlflow.parentRunId": target.parent} if target.parent else {}
    if target.parent:
        experiment = client.get_run(target.parent).info.experiment_id
    else:
        experiment = experiment_id(client, NAME, target.uri, Path.cwd())
    run_id = str(client.create_run(experiment, run_name=NAME, tags=tags).info.run_id)
    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(key, value, now, target.step) for key, value in target.metrics.items()])
    for path in (*files.paths, *files.figures):
        client.log_artifact(run_id, str(path), "figures" if path in files.figures else None)
    client.set_terminated(run_id)
    return run_id
