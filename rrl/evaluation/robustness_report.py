"""The report of a robustness evaluation: tables, figures and one page that says who is best and how sure that is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rrl.evaluation.measures import MEASURES
from rrl.evaluation.report_sources import Provenance
from rrl.evaluation.result_files import ResultStoreError, write_rows
from rrl.evaluation.results import CellResult
from rrl.evaluation.robustness import MethodSummary, PolicySummary, summarize_methods, summarize_policies


class ReportFiles(NamedTuple):
    """What was written."""

    html: Path
    """The page, which needs none of the other files."""
    csv: Path
    """All rows."""
    parquet: Path
    """All rows."""
    policies: Path
    """The numbers of each policy, CSV."""
    methods: Path
    """The numbers of each method with their intervals, CSV."""
    figures: tuple[Path, ...]
    """SVG."""
    summaries: tuple[MethodSummary, ...]
    """The numbers of each method, for :func:`~rrl.evaluation.tables.format_summary`."""

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
) -> ReportFiles:
    """Write everything that an evaluation has to say.

    Args:
        rows: One row for each policy and cell, of one environment. Attacks and unfinished evaluations are welcome.
        folder: Where it goes; made if it is not there. Files of an earlier report are replaced.
        provenance: Where the numbers come from.
        baseline: The method that others are compared with; the first one by default.

    Returns:
        The files and the summaries.

    Raises:
        ValueError: If there are no rows, they are of several environments, or no method is called ``baseline``.
        ResultStoreError: If a file cannot be written.
    """
    _check_environment(rows)
    policies = summarize_policies(rows)
    methods = summarize_methods(policies)
    names = [method.method for method in methods]
    if baseline is not None and baseline not in names:
        raise ValueError(f"`baseline` must be one of the methods {', '.join(names)}, got {baseline!r}.")
    try:
        return _write(rows, policies, methods, Path(folder), provenance, baseline=baseline or names[0])
    except OSError as error:
        raise ResultStoreError(f"The report in {folder} cannot be written: {error.strerror or error}.") from error


def _check_environment(rows: Sequence[CellResult]) -> None:
    tasks = sorted({row.env_id for row in rows})
    if len(tasks) > 1:
        raise ValueError(f"`rows` must be of one environment, since rewards differ in scale; got {', '.join(tasks)}.")


def _write(
    rows: Sequence[CellResult],
    policies: Sequence[PolicySummary],
    methods: Sequence[MethodSummary],
    folder: Path,
    provenance: Provenance,
    *,
    baseline: str,
) -> ReportFiles:
    # Imported here, since Matplotlib and Jinja take a second that a misspelt option should not wait for.
    from rrl.evaluation.html_report import render_html
    from rrl.evaluation.report_figures import draw_report_figures

    figures = draw_report_figures(rows, methods, baseline)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    paths = []
    for figure in figures:
        paths.append(folder / "figures" / f"{figure.name}.svg")
        paths[-1].write_bytes(figure.svg)
    html = folder / "report.html"
    html.write_text(render_html(rows, methods, figures, provenance, baseline), encoding="utf-8")
    return ReportFiles(
        html=html,
        csv=write_rows(rows, folder / "results.csv"),
        parquet=write_rows(rows, folder / "results.parquet"),
        policies=_write_policies(policies, provenance, rows, folder / "policies.csv"),
        methods=_write_methods(methods, folder / "methods.csv"),
        figures=tuple(paths),
        summaries=tuple(methods),
    )


def _write_policies(
    policies: Sequence[PolicySummary], provenance: Provenance, rows: Sequence[CellResult], path: Path
) -> Path:
    import pandas as pd

    records = [
        {
            "method": policy.method,
            "policy": policy.policy,
            "train_seed": policy.train_seed,
            "training_steps": origin.env_steps,
            **policy.values,
            "worst_cell": policy.worst_cell,
            "strongest_attack": policy.strongest_attack,
        }
        for policy, origin in zip(policies, provenance.origins(rows), strict=True)
    ]
    pd.DataFrame(records).to_csv(path, index=False)
    return path


def _write_methods(methods: Sequence[MethodSummary], path: Path) -> Path:
    import pandas as pd

    records = []
    for method in methods:
        record: dict[str, str | int | float] = {"method": method.method, "seeds": method.num_seeds}
        for name, estimate in {**{name: method.estimates[name] for name in MEASURES}, "iqm": method.iqm}.items():
            record |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        records.append(record)
    pd.DataFrame(records).to_csv(path, index=False)
    return path
