"""Figures have the panels, labels and marks that their captions speak of."""

from __future__ import annotations

import numpy as np
import pytest

from rrl.evaluation.report.figures import draw_report_figures, sweeps_by_axes, with_unchanged_world
from rrl.evaluation.report.figures_panels import (
    grid_of,
    plot_attacks,
    plot_curves,
    plot_differences,
    plot_forest,
    plot_heat_maps,
    plot_profile,
)
from rrl.evaluation.report.figures_style import COLORS, axis_label, method_styles, nominal_value, to_svg
from rrl.evaluation.report.summary import perturbed, summarize, tabulate
from tests.evaluation.synthetic_results import METHODS, cell_result, synthetic_results, table

STYLES = method_styles(list(METHODS))


@pytest.fixture(scope="module")
def cells():
    return table(synthetic_results())


@pytest.fixture(scope="module")
def plane(cells):
    return tabulate(cells[cells.sweep == "mass x friction"])


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_methods_keep_their_colours_and_many_methods_differ():
    assert [STYLES[method].color for method in METHODS] == list(COLORS[:5])
    assert len(set(method_styles([str(k) for k in range(21)]).values())) == 21


@pytest.mark.parametrize(
    ("parameter", "label", "nominal"),
    [
        ("mass", "mass (factor)", 1.0),
        ("friction of floor, foot_geom", "friction of floor, foot_geom (factor)", 1.0),
        ("reset_noise", "start state noise (factor)", 1.0),
        ("push_constant", "force in all steps (N)", 0.0),
        ("absolute mass of torso", "mass of torso (absolute, SI units)", np.nan),
    ],
)
def test_axes_have_units_and_a_nominal_value(parameter, label, nominal):
    assert axis_label(parameter) == label
    np.testing.assert_equal(nominal_value(parameter), nominal)


def test_curves_have_a_panel_for_each_sweep_with_all_methods_bands_and_the_unchanged_world(cells):
    figure = plot_curves(cells, ["mass", "action delay"], STYLES)
    assert [axes.get_title("left") for axes in figure.axes] == ["mass", "action delay"]
    assert figure.axes[0].get_ylabel() == "mean return (reward)"
    assert figure.axes[0].get_xlabel() == "mass (factor)"
    assert legend_texts(figure) == list(METHODS)
    nominal, first, *_ = figure.axes[0].lines
    assert set(nominal.get_xdata()) == {1.0}
    expected = cells.query("method == 'TRPO' and cell == 'mass sweep: mass=0.5'").return_mean.mean()
    assert first.get_ydata()[0] == pytest.approx(expected)
    assert len(figure.axes[0].collections) == len(METHODS)


def test_sweeps_begin_at_the_unchanged_world_unless_they_hold_it():
    nominal = cell_result(sweep="nominal", cell="nominal", kind="nominal", axis_1="", value_1=np.nan, return_mean=7.0)
    noisy = cell_result(sweep="noise", cell="noisy", kind="noise", axis_1="action_noise", value_1=0.1)
    unchanged_mass, tilt = cell_result(), cell_result(sweep="tilt", cell="tilted", axis_1="absolute tilt", value_1=0.2)
    found = with_unchanged_world(table([nominal, noisy, unchanged_mass, tilt]), ["noise", "mass", "tilt"])
    assert list(zip(found.sweep, found.value_1, found.return_mean, strict=True)) == [
        ("noise", 0.1, 1000.0),
        ("noise", 0.0, 7.0),
        ("mass", 1.0, 1000.0),
        ("tilt", 0.2, 1000.0),
    ]


def test_heat_maps_share_a_scale_and_mark_the_worst_cell(plane):
    figure = plot_heat_maps(plane)
    *panels, bar = figure.axes
    assert [axes.get_title("left") for axes in panels] == list(METHODS)
    assert len({axes.collections[0].get_clim() for axes in panels}) == 1
    assert bar.get_ylabel() == "mean return (reward)"
    assert panels[0].get_ylabel() == "friction (factor)"
    worst = plane.returns["TRPO"].mean(axis=0).argmin()
    cross = panels[0].lines[-1]
    assert cross.get_marker() == "x"
    assert cross.get_xydata().tolist() == [plane.cells[["value_1", "value_2"]].iloc[worst].tolist()]


def test_heat_map_does_not_mark_an_unchanged_world_that_it_does_not_show():
    places = [(x, y) for x in (0.1, 0.2) for y in (0.3, 0.4)]
    rows = [cell_result(cell=f"{x} {y}", axis_2="gear", value_1=x, value_2=y) for x, y in places]
    panel = plot_heat_maps(tabulate(table(rows))).axes[0]
    assert [line.get_marker() for line in panel.lines] == ["x"]


def test_differences_leave_out_the_baseline_and_are_symmetric_about_zero(plane):
    figure = plot_differences(plane, "RARL")
    *panels, bar = figure.axes
    assert [axes.get_title("left") for axes in panels] == [method for method in METHODS if method != "RARL"]
    low, high = panels[0].collections[0].get_clim()
    assert low == -high
    assert "minus that of RARL" in bar.get_ylabel()


def test_forest_has_a_panel_for_each_known_number_with_unit_and_direction(cells):
    figure = plot_forest(summarize(cells), STYLES)
    assert len(figure.axes) == 9
    labels = {axes.get_title("left"): axes.get_xlabel() for axes in figure.axes}
    assert labels["failures"] == "% (lower is better)"
    assert labels["worst cell"] == "reward (higher is better)"
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == list(METHODS)


def test_profile_falls_from_all_cells_to_none(cells):
    (axes,) = plot_profile(tabulate(perturbed(cells)), STYLES).axes
    assert len(axes.lines) == len(METHODS)
    for line in axes.lines:
        shares = line.get_ydata()
        assert (shares[0], shares[-1]) == (100.0, 0.0)
        assert (np.diff(shares) <= 0).all()


def test_attacks_have_a_panel_for_each_attacker_and_a_group_for_each_force(cells):
    figure = plot_attacks(cells[cells.kind == "attack"], STYLES)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["no attack", "random force", "pushes", "pushes of random strength", "strongest found"]
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()] == ["1.25", "5", "10"]
    assert len(figure.axes[1].patches) == 3 * len(METHODS)


def test_report_draws_what_there_is_and_nothing_else(cells):
    def names_of(part):
        return [figure.name for figure in draw_report_figures(part, summarize(part), "TRPO")]

    nominal = cells[cells.kind == "nominal"]
    assert names_of(cells) == ["summary", "profile", "attacks", "curves", "heat_map_0", "difference_0"]
    assert names_of(nominal) == ["summary"]
    assert names_of(nominal[:1]) == []


def test_sweeps_without_axes_are_neither_curves_nor_heat_maps():
    rows = [
        cell_result(sweep="line"),
        cell_result(sweep="plane", axis_2="friction"),
        cell_result(sweep="list", axis_1=""),
        cell_result(sweep="line", cell="other"),
    ]
    assert sweeps_by_axes(table(rows)) == (["line"], ["plane"])


def test_grid_has_the_first_axis_across_and_holes_where_there_are_no_cells():
    places = [(1.0, 0.5), (2.0, 0.5), (2.0, 0.7)]
    cells = table([cell_result(value_1=first, value_2=second) for first, second in places])
    xs, ys, grid = grid_of(cells, np.array([10.0, 20.0, 30.0]))
    assert (xs.tolist(), ys.tolist()) == ([1.0, 2.0], [0.5, 0.7])
    np.testing.assert_array_equal(grid, [[10.0, 20.0], [np.nan, 30.0]])


def test_cells_that_share_a_place_are_averaged():
    cells = table([cell_result(value_1=1.0, value_2=1.0)] * 2)
    assert grid_of(cells, np.array([10.0, 20.0]))[2].tolist() == [[15.0]]


def test_same_numbers_give_the_same_file_and_strange_names_are_drawn():
    shapes = {"<b> $x_1$ & é": METHODS["TRPO"], "_hidden": METHODS["RARL"]}
    cells = table([row for row in synthetic_results(num_seeds=1, methods=shapes) if row.sweep == "mass"])
    first, second = (to_svg(plot_curves(cells, ["mass"], method_styles(list(shapes)))) for _ in range(2))
    assert first == second
    assert legend_texts(plot_curves(cells, ["mass"], method_styles(list(shapes)))) == list(shapes)


def test_training_ranges_lie_at_the_foot_of_their_parameter_s_panel(cells):
    ranges = {"RARL": {"mass": (0.7, 1.3)}, "TRPO": {"gear": (0.9, 1.1)}}
    mass, delay = plot_curves(cells, ["mass", "action delay"], STYLES, ranges).axes
    (bar,) = [line for line in mass.lines if line.get_linewidth() == 3.5]
    assert list(bar.get_xdata()) == [0.7, 1.3]
    assert bar.get_color() == STYLES["RARL"].color
    assert not [line for line in delay.lines if line.get_linewidth() == 3.5]


def test_training_ranges_frame_the_cells_in_the_panel_of_their_method(plane):
    *panels, _ = plot_heat_maps(
        plane, {"RARL": {"mass": (0.7, 1.3), "friction": (0.5, 1.5)}, "TRPO": {"gear": (1, 2)}}
    ).axes
    boxes = {axes.get_title("left"): [patch.get_bbox().bounds for patch in axes.patches] for axes in panels}
    assert boxes["RARL"] == [pytest.approx((0.7, 0.5, 0.6, 1.0))] * 2  # white beneath dashed ink
    assert boxes["TRPO"] == []


def test_a_caption_speaks_of_training_ranges_only_where_they_are_known():
    cells = table(synthetic_results(1, {"RARL": METHODS["RARL"]}))
    captions = [
        {figure.name: figure.caption for figure in draw_report_figures(cells, summarize(cells), "RARL", ranges)}
        for ranges in ({}, {"RARL": {"mass": (0.7, 1.3)}})
    ]
    assert ["trained in" in caption["curves"] for caption in captions] == [False, True]
    assert "trained in" in captions[1]["heat_map_0"]
