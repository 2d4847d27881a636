"""Panel by panel: forest plot, performance profile, bars of attacks, curves along one axis, heat maps over two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from rrl.evaluation.intervals import mean_over_seeds, performance_profile
from rrl.evaluation.report.figures_style import (
    INK,
    REPORT_STYLE,
    RETURN,
    MethodStyle,
    add_legend,
    axis_label,
    new_panels,
    nominal_value,
)
from rrl.evaluation.report.summary import MEASURES, CellTable, Summary, mean_or_nan, tabulate

if TYPE_CHECKING:
    from pandas import DataFrame

Array = NDArray[np.float64]
Ranges = Mapping[str, Mapping[str, tuple[float, float]]]
"""By method and parameter: the factors of the nominal physics that its training drew from."""

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
def plot_forest(summary: Summary, styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw the known numbers of all methods: mean and 95 % interval over the seeds, small dots for single seeds."""
    names = summary.names
    figure, panels = new_panels(len(summary.known), columns=3, size=(3.6, 0.9 + 0.3 * len(names)), sharey=True)
    for axes, measure in zip(panels, summary.known, strict=True):
        for place, (name, (value, *ends)) in enumerate(zip(names, summary.estimates(measure), strict=True)):
            color, marker, _ = styles[name]
            scores = summary.scores(name, measure)
            axes.plot(scores, np.full(len(scores), place + 0.24), ".", color=color, markersize=4, alpha=0.55)
            axes.plot(ends, [place, place], color=color, linewidth=2.4, solid_capstyle="butt")
            axes.plot([value], [place], marker=marker, color=color, markersize=7)
        label, unit, _, higher_is_better = MEASURES[measure]
        axes.set_title(label)
        axes.set_xlabel(f"{unit} ({'higher' if higher_is_better else 'lower'} is better)", fontsize=9)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


@mpl.rc_context(REPORT_STYLE)
def plot_profile(table: CellTable, styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw which share of the perturbed cells lies above each return: mean over the seeds with its 95 % interval."""
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
def plot_attacks(cells: DataFrame, styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw the returns under attack: a panel for each attacker, bars for its force limits, lines for the intervals."""
    figure, panels = _sweep_panels(cells.sweep.unique(), (3.6, 2.6))
    for attacker, axes in panels.items():
        _draw_bars(axes, tabulate(cells[cells.sweep == attacker]), styles)
        axes.set_title(ATTACKERS.get(attacker, attacker))
    add_legend(figure, {method: style._replace(marker="s", dashes="none") for method, style in styles.items()})
    return figure


@mpl.rc_context(REPORT_STYLE)
def plot_curves(
    cells: DataFrame, sweeps: Sequence[str], styles: Mapping[str, MethodStyle], ranges: Ranges = MappingProxyType({})
) -> Figure:
    """Draw returns along one-dimensional sweeps: mean over the seeds with its 95 % interval, a panel for each sweep."""
    figure, panels = _sweep_panels(sweeps, (3.6, 2.7))
    for sweep, axes in panels.items():
        table = tabulate(cells[cells.sweep == sweep])
        _draw_curves(axes, table, styles)
        _draw_ranges(axes, table.cells.axis_1.iloc[0], styles, ranges)
        axes.set_title(sweep)
    add_legend(figure, styles)
    return figure


@mpl.rc_context(REPORT_STYLE)
def plot_heat_maps(table: CellTable, ranges: Ranges = MappingProxyType({})) -> Figure:
    """Draw the mean returns of each method in the cells of a sweep along two axes, on one colour scale."""
    means = {method: returns.mean(axis=0) for method, returns in table.returns.items()}
    values = np.concatenate(list(means.values()))
    limits = (min(0.0, float(np.nanmin(values))), float(np.nanmax(values)))
    return _heat_panels(table.cells, means, limits=limits, label=RETURN, mark_worst=True, ranges=ranges)


@mpl.rc_context(REPORT_STYLE)
def plot_differences(table: CellTable, baseline: str) -> Figure:
    """Draw by how much others, at least one, are better than a baseline, on a colour scale symmetric about zero."""
    reference = table.returns[baseline].mean(axis=0)
    others = {method: returns.mean(axis=0) for method, returns in table.returns.items() if method != baseline}
    gains = {method: means - reference for method, means in others.items()}
    largest = float(np.nanmax(np.abs(np.concatenate(list(gains.values())))))
    label = f"mean return (reward)\nminus that of {baseline}"  # one line is longer than a panel is high
    return _heat_panels(table.cells, gains, limits=(-largest, largest), label=label, mark_worst=False)


def grid_of(cells: DataFrame, values: Array) -> tuple[Array, Array, Array]:
    """Lay numbers ``[C]``, one per cell of a sweep along two axes, out as a grid ``[Y, X]``, after both axes' values.

    NaN where there is none. Where a third axis makes several cells share a place, it holds their mean.
    """
    grid = cells.assign(mean=values).groupby(["value_2", "value_1"])["mean"].agg(mean_or_nan).unstack()
    return grid.columns.to_numpy(), grid.index.to_numpy(), grid.to_numpy()


def _sweep_panels(sweeps: Sequence[str], size: tuple[float, float]) -> tuple[Figure, dict[str, Axes]]:
    """Make a panel for each sweep; a single one is large."""
    figure, panels = new_panels(len(sweeps), columns=3, size=size if len(sweeps) > 1 else (7.2, 3.8), sharey=True)
    for axes in panels[::3]:
        axes.set_ylabel(RETURN)
    return figure, dict(zip(sweeps, panels, strict=True))


def _draw_bars(axes: Axes, table: CellTable, styles: Mapping[str, MethodStyle]) -> None:
    limits = table.cells.value_1.to_numpy()
    order = np.argsort(limits, kind="stable")
    methods = [method for method in styles if method in table.returns]
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        band = mean_over_seeds(table.returns[method][:, order])
        x = np.arange(len(order)) + (place - (len(methods) - 1) / 2) * width
        axes.bar(x, band.values, width=0.9 * width, color=styles[method].color)
        axes.vlines(x, band.low, band.high, color="black", linewidth=1)
    axes.set_xticks(range(len(order)), [f"{limit:g}" for limit in limits[order]])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("force limit (N)", fontsize=9)


def _draw_curves(axes: Axes, table: CellTable, styles: Mapping[str, MethodStyle]) -> None:
    parameter, values = table.cells.axis_1.iloc[0], table.cells.value_1.to_numpy()
    order = np.argsort(values)
    x = values[order]
    axes.axvline(nominal_value(parameter), color=INK, linewidth=1, linestyle=":")
    for method, returns in table.returns.items():
        color, marker, dashes = styles[method]
        band = mean_over_seeds(returns[:, order])
        axes.fill_between(x, band.low, band.high, color=color, alpha=0.13, linewidth=0)
        axes.plot(x, band.values, color=color, marker=marker, linestyle=dashes, markersize=3.5, linewidth=1.6)
    axes.set_xlabel(axis_label(parameter), fontsize=9)


def _draw_ranges(axes: Axes, parameter: str, styles: Mapping[str, MethodStyle], ranges: Ranges) -> None:
    """Draw a bar at the foot of a panel for each method that was trained in a range of its parameter."""
    low, high = axes.get_xlim()
    known = [method for method in styles if parameter in ranges.get(method, {})]
    for place, method in enumerate(known):
        ends = np.clip(ranges[method][parameter], low, high)
        height, transform = 0.02 + 0.03 * place, axes.get_xaxis_transform()
        color = styles[method].color
        axes.plot(ends, [height] * 2, color=color, linewidth=3.5, solid_capstyle="butt", transform=transform)
    axes.set_xlim(low, high)


def _heat_panels(
    cells: DataFrame,
    values: Mapping[str, Array],
    *,
    limits: tuple[float, float],
    label: str,
    mark_worst: bool,
    ranges: Ranges = MappingProxyType({}),
) -> Figure:
    columns = 2 if len(values) == 4 else min(len(values), 3)
    figure, panels = new_panels(len(values), columns=columns, size=(3.4, 3.1), sharex=True, sharey=True)
    colors = "viridis" if mark_worst else "RdBu"
    parameters = (cells.axis_1.iloc[0], cells.axis_2.iloc[0])
    for place, (axes, (method, means)) in enumerate(zip(panels, values.items(), strict=True)):
        xs, ys, grid = grid_of(cells, means)
        mesh = axes.pcolormesh(xs, ys, grid, vmin=limits[0], vmax=limits[1], cmap=colors, shading="nearest")
        axes.set_title(method)
        axes.grid(visible=False)
        _frame_range(axes, parameters, ranges.get(method, {}))
        _mark_nominal(axes, *map(nominal_value, parameters))
        if mark_worst and np.isfinite(grid).any():
            _mark_worst(axes, xs, ys, grid)
        if place + columns >= len(panels):
            axes.set_xlabel(axis_label(parameters[0]))
        if place % columns == 0:
            axes.set_ylabel(axis_label(parameters[1]))
    bar = figure.colorbar(mesh, ax=panels, label=label, aspect=30, pad=0.015)
    bar.outline.set_visible(False)
    return figure


def _frame_range(axes: Axes, parameters: tuple[str, str], ranges: Mapping[str, tuple[float, float]]) -> None:
    """Frame the cells that lie in a training's ranges; what it has not drawn stayed as it is."""
    if not {*parameters} & {*ranges}:
        return
    (left, right), (bottom, top) = (ranges.get(name, (nominal_value(name),) * 2) for name in parameters)
    for color, style in (("white", "-"), (INK, "--")):
        frame = Rectangle((left, bottom), right - left, top - bottom, fill=False, edgecolor=color, linestyle=style)
        axes.add_patch(frame)


def _mark_nominal(axes: Axes, x: float, y: float) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if not (left <= x <= right and bottom <= y <= top):
        return
    for color, width in (("white", 3.2), (INK, 1.4)):
        axes.plot([x], [y], "s", markersize=8, markerfacecolor="none", markeredgecolor=color, markeredgewidth=width)


def _mark_worst(axes: Axes, xs: Array, ys: Array, grid: Array) -> None:
    line, column = np.unravel_index(np.nanargmin(grid), grid.shape)
    axes.plot([xs[column]], [ys[line]], marker="x", markersize=8, color="white", markeredgewidth=2.2)
    axes.set_title(f"worst {grid[line, column]:,.0f}", loc="right", color=INK, fontsize=9, fontweight="normal")
