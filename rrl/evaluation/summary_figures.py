"""Figures of the numbers that sum an evaluation up: forest plot, performance profile, attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rrl.evaluation.cell_tables import CellTable, tabulate
from rrl.evaluation.figure_style import REPORT_STYLE, MethodStyle, add_legend, new_panels
from rrl.evaluation.measures import MEASURES
from rrl.evaluation.results import CellResult
from rrl.evaluation.robustness import MethodSummary, known_measures
from rrl.evaluation.seeds import mean_over_seeds, performance_profile

NUM_THRESHOLDS = 201
ATTACKERS = {
    "zero": "no attack",
    "random": "random force",
    "step": "pushes",
    "random_step": "pushes of random strength",
    "own": "own adversary",
    "strongest": "strongest found",
}
"""Titles of the panels, by the sweep of the rows."""


@mpl.rc_context(REPORT_STYLE)
def plot_forest(methods: Sequence[MethodSummary], styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw the summary numbers of all methods with their intervals.

    Args:
        methods: The methods.
        styles: Looks by method.

    Returns:
        The figure: a panel for each number that is known; large mark and bar for the mean over the seeds and its 95 %
        interval, small dots for the seeds.
    """
    known = known_measures(methods)
    figure, panels = new_panels(len(known), columns=3, size=(3.6, 0.9 + 0.3 * len(methods)), sharey=True)
    for axes, name in zip(panels, known, strict=True):
        for place, method in enumerate(methods):
            _draw_estimate(axes, place, method, name, styles[method.method])
        measure = MEASURES[name]
        axes.set_title(measure.label)
        axes.set_xlabel(f"{measure.unit} ({'higher' if measure.higher_is_better else 'lower'} is better)", fontsize=9)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(methods)), [method.method for method in methods])
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


@mpl.rc_context(REPORT_STYLE)
def plot_profile(table: CellTable, styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw which share of the cells lies above each return.

    Args:
        table: Perturbed cells.
        styles: Looks by method.

    Returns:
        The figure: mean over the seeds with its pointwise 95 % interval.
    """
    figure, (axes,) = new_panels(1, columns=1, size=(7.2, 4.0))
    values = np.concatenate([returns.ravel() for returns in table.returns.values()])
    thresholds = np.linspace(min(0.0, float(np.nanmin(values))), float(np.nanmax(values)), NUM_THRESHOLDS)
    for method, returns in table.returns.items():
        look = styles[method]
        profile = performance_profile(returns[:, ~np.isnan(returns).any(axis=0)], thresholds)
        axes.fill_between(thresholds, 100 * profile.low, 100 * profile.high, color=look.color, alpha=0.13, linewidth=0)
        axes.plot(thresholds, 100 * profile.values, color=look.color, linestyle=look.dashes, linewidth=2)
    axes.set(xlabel="return (reward)", ylabel="cells above that return (%)", ylim=(0, 101))
    axes.margins(x=0)
    add_legend(figure, {method: style._replace(marker="") for method, style in styles.items()})
    return figure


@mpl.rc_context(REPORT_STYLE)
def plot_attacks(rows: Sequence[CellResult], styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw the returns under attack.

    Args:
        rows: Rows of attacks, whose sweep is the attacker.
        styles: Looks by method.

    Returns:
        The figure: a panel for each attacker, groups of bars for its force limits; lines for the 95 % intervals.
    """
    attackers = list(dict.fromkeys(row.sweep for row in rows))
    size = (3.6, 2.6) if len(attackers) > 1 else (7.2, 3.8)
    figure, panels = new_panels(len(attackers), columns=3, size=size, sharey=True)
    for axes, attacker in zip(panels, attackers, strict=True):
        _draw_bars(axes, tabulate([row for row in rows if row.sweep == attacker]), styles)
        axes.set_title(ATTACKERS.get(attacker, attacker))
    for axes in panels[::3]:
        axes.set_ylabel("mean return (reward)")
    add_legend(figure, {method: style._replace(marker="s", dashes="none") for method, style in styles.items()})
    return figure


def _draw_estimate(axes: Axes, place: int, method: MethodSummary, name: str, look: MethodStyle) -> None:
    estimate = method.estimates[name]
    scores = method.scores(name)
    axes.plot(scores, np.full(len(scores), place + 0.24), ".", color=look.color, markersize=4, alpha=0.55)
    axes.plot([estimate.low, estimate.high], [place, place], color=look.color, linewidth=2.4, solid_capstyle="butt")
    axes.plot([estimate.value], [place], marker=look.marker, color=look.color, markersize=7)


def _draw_bars(axes: Axes, table: CellTable, styles: Mapping[str, MethodStyle]) -> None:
    order = np.argsort([cell.value_1 for cell in table.cells], kind="stable")
    methods = [method for method in styles if method in table.returns]
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        band = mean_over_seeds(table.returns[method][:, order])
        x = np.arange(len(order)) + (place - (len(methods) - 1) / 2) * width
        axes.bar(x, band.values, width=0.9 * width, color=styles[method].color)
        axes.vlines(x, band.low, band.high, color="black", linewidth=1)
    cells = [table.cells[index] for index in order]
    axes.set_xticks(range(len(cells)), [f"{cell.value_1:g}" for cell in cells])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("force limit (N)", fontsize=9)
