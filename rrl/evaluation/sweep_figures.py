"""Figures of sweeps: curves along one axis, heat maps over two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rrl.evaluation.cell_tables import CellTable, grid_of, tabulate
from rrl.evaluation.figure_style import (
    INK,
    REPORT_STYLE,
    MethodStyle,
    add_legend,
    axis_label,
    new_panels,
    nominal_value,
)
from rrl.evaluation.results import CellResult
from rrl.evaluation.seeds import mean_over_seeds

Array = NDArray[np.float64]


@mpl.rc_context(REPORT_STYLE)
def plot_curves(rows: Sequence[CellResult], sweeps: Sequence[str], styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw returns along one-dimensional sweeps.

    Args:
        rows: Rows of all methods.
        sweeps: Names of the sweeps, at least one; each becomes a panel.
        styles: Looks by method.

    Returns:
        The figure: mean over the seeds with its 95 % interval; a dotted line where the world is unchanged.
    """
    size = (3.6, 2.7) if len(sweeps) > 1 else (7.2, 3.8)
    figure, panels = new_panels(len(sweeps), columns=3, size=size, sharey=True)
    for axes, sweep in zip(panels, sweeps, strict=True):
        _draw_curves(axes, tabulate([row for row in rows if row.sweep == sweep]), styles)
        axes.set_title(sweep)
    for axes in panels[::3]:
        axes.set_ylabel("mean return (reward)")
    add_legend(figure, styles)
    return figure


@mpl.rc_context(REPORT_STYLE)
def plot_heat_maps(table: CellTable) -> Figure:
    """Draw the returns of each method over two axes.

    Args:
        table: Cells of one sweep along two axes.

    Returns:
        The figure: a panel for each method on one colour scale; a square where the world is unchanged and a cross where
        the mean return over the seeds is lowest.
    """
    means = {method: returns.mean(axis=0) for method, returns in table.returns.items()}
    values = np.concatenate(list(means.values()))
    limits = (min(0.0, float(np.nanmin(values))), float(np.nanmax(values)))
    return _heat_panels(
        table.cells, means, limits=limits, colors="viridis", label="mean return (reward)", mark_worst=True
    )


@mpl.rc_context(REPORT_STYLE)
def plot_differences(table: CellTable, baseline: str) -> Figure:
    """Draw by how much each method is better than a baseline, over two axes.

    Args:
        table: Cells of one sweep along two axes.
        baseline: The method to compare with; at least one other is in the table.

    Returns:
        The figure: a panel for each other method on one colour scale that is symmetric about zero.
    """
    reference = table.returns[baseline].mean(axis=0)
    gains = {
        method: returns.mean(axis=0) - reference for method, returns in table.returns.items() if method != baseline
    }
    largest = float(np.nanmax(np.abs(np.concatenate(list(gains.values())))))
    label = f"mean return minus that of {baseline} (reward)"
    return _heat_panels(table.cells, gains, limits=(-largest, largest), colors="RdBu", label=label, mark_worst=False)


def _draw_curves(axes: Axes, table: CellTable, styles: Mapping[str, MethodStyle]) -> None:
    parameter = table.cells[0].axis_1
    x = np.array([cell.value_1 for cell in table.cells])
    order = np.argsort(x)
    axes.axvline(nominal_value(parameter), color=INK, linewidth=1, linestyle=":")
    for method, returns in table.returns.items():
        look = styles[method]
        band = mean_over_seeds(returns[:, order])
        axes.fill_between(x[order], band.low, band.high, color=look.color, alpha=0.13, linewidth=0)
        axes.plot(
            x[order],
            band.values,
            color=look.color,
            marker=look.marker,
            linestyle=look.dashes,
            markersize=3.5,
            linewidth=1.6,
        )
    axes.set_xlabel(axis_label(parameter), fontsize=9)


def _heat_panels(
    cells: Sequence[CellResult],
    values: Mapping[str, Array],
    *,
    limits: tuple[float, float],
    colors: str,
    label: str,
    mark_worst: bool,
) -> Figure:
    columns = 2 if len(values) == 4 else min(len(values), 3)
    figure, panels = new_panels(len(values), columns=columns, size=(3.4, 3.1), sharex=True, sharey=True)
    for axes, (method, means) in zip(panels, values.items(), strict=True):
        xs, ys, grid = grid_of(cells, means)
        mesh = axes.pcolormesh(xs, ys, grid, vmin=limits[0], vmax=limits[1], cmap=colors, shading="nearest")
        axes.set_title(method)
        axes.grid(visible=False)
        _mark_nominal(axes, cells[0])
        if mark_worst and np.isfinite(grid).any():
            _mark_worst(axes, xs, ys, grid)
    for place, axes in enumerate(panels):
        if place + columns >= len(panels):
            axes.set_xlabel(axis_label(cells[0].axis_1))
        if place % columns == 0:
            axes.set_ylabel(axis_label(cells[0].axis_2))
    bar = figure.colorbar(mesh, ax=panels, label=label, aspect=30, pad=0.015)
    bar.outline.set_visible(False)
    return figure


def _mark_nominal(axes: Axes, cell: CellResult) -> None:
    x, y = nominal_value(cell.axis_1), nominal_value(cell.axis_2)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if not (left <= x <= right and bottom <= y <= top):
        return
    axes.plot([x], [y], marker="s", markersize=8, markerfacecolor="none", markeredgecolor="white", markeredgewidth=3.2)
    axes.plot([x], [y], marker="s", markersize=8, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.4)


def _mark_worst(axes: Axes, xs: Array, ys: Array, grid: Array) -> None:
    line, column = np.unravel_index(np.nanargmin(grid), grid.shape)
    axes.plot([xs[column]], [ys[line]], marker="x", markersize=8, color="white", markeredgewidth=2.2)
    axes.set_title(f"worst {grid[line, column]:,.0f}", loc="right", color=INK, fontsize=9, fontweight="normal")
