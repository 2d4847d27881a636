"""Rows are arranged by policy and cell, and nothing is invented."""

from __future__ import annotations

import math

import numpy as np

from rrl.evaluation.cell_tables import grid_of, sweeps_by_axes, tabulate
from tests.evaluation.synthetic_results import cell_result


def test_policies_are_lines_and_cells_are_columns_whatever_the_order_of_the_rows():
    rows = [
        cell_result(policy="p0", cell="a", return_mean=1.0),
        cell_result(policy="p1", cell="b", return_mean=4.0),
        cell_result(policy="p1", cell="a", return_mean=3.0),
        cell_result(policy="p0", cell="b", return_mean=2.0),
        cell_result(method="RARL", policy="p2", cell="b", return_mean=6.0),
    ]
    table = tabulate(rows)
    assert [cell.cell for cell in table.cells] == ["a", "b"]
    np.testing.assert_array_equal(table.returns["TRPO"], [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(table.returns["RARL"], [[math.nan, 6.0]])


def test_sweeps_without_axes_are_neither_curves_nor_heat_maps():
    rows = [
        cell_result(sweep="line"),
        cell_result(sweep="plane", axis_2="friction"),
        cell_result(sweep="list", axis_1=""),
        cell_result(sweep="line", cell="other"),
    ]
    assert sweeps_by_axes(rows) == (["line"], ["plane"])


def test_grid_has_the_first_axis_across_and_holes_where_there_are_no_cells():
    places = [(1.0, 0.5), (2.0, 0.5), (2.0, 0.7)]
    cells = [cell_result(value_1=first, value_2=second) for first, second in places]
    xs, ys, grid = grid_of(cells, np.array([10.0, 20.0, 30.0]))
    assert (xs.tolist(), ys.tolist()) == ([1.0, 2.0], [0.5, 0.7])
    np.testing.assert_array_equal(grid, [[10.0, 20.0], [math.nan, 30.0]])


def test_cells_that_share_a_place_are_averaged():
    cells = [cell_result(value_1=1.0, value_2=1.0)] * 2
    assert grid_of(cells, np.array([10.0, 20.0]))[2].tolist() == [[15.0]]
