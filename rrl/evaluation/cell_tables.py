"""Rows rearranged for comparison: policies by cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.results import CellResult

Array = NDArray[np.float64]


class CellTable(NamedTuple):
    """Mean returns of the policies of each method in the same cells."""

    cells: tuple[CellResult, ...]
    """One row for each cell, for its name and its place in the sweep; it may be of any policy."""
    returns: Mapping[str, Array]
    """By method, shape ``[S, C]``; NaN where a policy lacks a cell."""


def tabulate(rows: Sequence[CellResult]) -> CellTable:
    """Arrange rows by policy and cell.

    Args:
        rows: Rows in any order, each policy and cell at most once.

    Returns:
        Methods and cells in the order of their first rows.
    """
    cells: dict[str, CellResult] = {}
    policies: dict[str, dict[tuple[str, int], dict[str, float]]] = {}
    for row in rows:
        cells.setdefault(row.cell, row)
        seeds = policies.setdefault(row.method, {})
        seeds.setdefault((row.policy, row.train_seed), {})[row.cell] = row.return_mean
    returns = {
        method: np.array([[found.get(cell, np.nan) for cell in cells] for found in seeds.values()])
        for method, seeds in policies.items()
    }
    return CellTable(tuple(cells.values()), returns)


def sweeps_by_axes(rows: Sequence[CellResult]) -> tuple[list[str], list[str]]:
    """Sort sweeps by the number of their axes.

    Args:
        rows: Rows of perturbed cells.

    Returns:
        Names of the sweeps along one axis, and of those along two, in the order of their first rows.
    """
    one = dict.fromkeys(row.sweep for row in rows if row.axis_1 and not row.axis_2)
    two = dict.fromkeys(row.sweep for row in rows if row.axis_1 and row.axis_2)
    return list(one), list(two)


def grid_of(cells: Sequence[CellResult], values: Array) -> tuple[Array, Array, Array]:
    """Lay the cells of a sweep along two axes out as a grid.

    Args:
        cells: The cells, in any order.
        values: A number for each. Shape ``[C]``.

    Returns:
        Values of the first axis ``[X]``, of the second ``[Y]``, and the grid ``[Y, X]``; NaN where there is none. Where
        a third axis makes several cells share a place, it holds their mean.
    """
    xs, columns = np.unique([cell.value_1 for cell in cells], return_inverse=True)
    ys, lines = np.unique([cell.value_2 for cell in cells], return_inverse=True)
    sums, counts = np.zeros((len(ys), len(xs))), np.zeros((len(ys), len(xs)))
    np.add.at(sums, (lines, columns), values)
    np.add.at(counts, (lines, columns), 1.0)
    grid = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return xs, ys, grid
