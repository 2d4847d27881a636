"""The learning curves of a study: a table of what its runs have logged, and a figure for each metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from rrl.evaluation.intervals import mean_over_seeds
from rrl.evaluation.report.figures_style import REPORT_STYLE, MethodStyle, add_legend, method_styles, new_panels
from rrl.plots import save_figure
from rrl.study.plan import StudyRun
from rrl.tracking import METRICS_FILE
from rrl.tracking.outbox import read_lines

if TYPE_CHECKING:
    from pandas import DataFrame, Series

FEW_POINTS = 15
"""Up to so many are marked, since a single one has no line."""
COLUMNS = ["task", "method", "seed", "metric", "env_steps", "value"]


def read_curves(runs: Sequence[StudyRun], metrics: Sequence[str]) -> DataFrame:
    """Read metrics that runs have logged, a row for each value; of a step that is repeated the last counts."""
    import pandas as pd

    rows = []
    for run in runs:
        records = read_lines(run.folder / METRICS_FILE)
        for metric in metrics:
            values = {record["step"]: record["metrics"][metric] for record in records if metric in record["metrics"]}
            rows += [(run.task, run.method, run.seed, metric, step, value) for step, value in sorted(values.items())]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw_curves(curves: DataFrame, methods: Sequence[str], folder: Path) -> list[Path]:
    """Draw a figure for each metric, a panel for each task, and return the files."""
    styles = method_styles(methods)
    return [
        save_figure(plot_curves(rows, str(metric), styles), folder / f"{str(metric).replace('/', '_')}.png")
        for metric, rows in curves.groupby("metric", sort=False)
    ]


@mpl.rc_context(REPORT_STYLE)
def plot_curves(curves: DataFrame, metric: str, styles: dict[str, MethodStyle]) -> Figure:
    """Draw one metric against real environment steps: mean over the seeds with its 95 % interval."""
    tasks = list(curves.task.unique())
    figure, panels = new_panels(len(tasks), columns=3, size=(3.8, 2.9) if len(tasks) > 1 else (7.2, 3.8))
    for task, axes in zip(tasks, panels, strict=True):
        _draw_task(axes, curves[curves.task == task], styles)
        axes.set_title(task)
        axes.set_xlabel("real environment steps")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in panels[::3]:
        axes.set_ylabel(metric)
    shown = {method: style._replace(marker="") for method, style in styles.items() if method in set(curves.method)}
    add_legend(figure, shown)
    return figure


def _draw_task(axes: Axes, curves: DataFrame, styles: dict[str, MethodStyle]) -> None:
    drawn: list[Series] = []
    for method, rows in curves.groupby("method", sort=False):
        table = rows.pivot_table("value", "seed", "env_steps", aggfunc="last").dropna(axis=1)
        band = mean_over_seeds(table.to_numpy())
        color, _, dashes = styles[str(method)]
        beneath = sum(table.mean().equals(other) for other in drawn)  # the same until a gate first opens, for instance
        drawn.append(table.mean())
        steps = table.columns.to_numpy()
        axes.fill_between(steps, band.low, band.high, color=color, alpha=0.13, linewidth=0)
        marker = "o" if len(steps) <= FEW_POINTS else ""
        (line,) = axes.plot(steps, band.values, color=color, linewidth=1.8, marker=marker, markersize=4)
        line.set(linestyle=(dashes, "--", ":")[min(beneath, 2)], markersize=4 - min(beneath, 2))
