"""Figures have the panels, labels and marks that their captions speak of."""

from __future__ import annotations

import numpy as np
import pytest

from rrl.evaluation.cell_tables import tabulate
from rrl.evaluation.figure_style import COLORS, axis_label, method_styles, nominal_value, to_svg
from rrl.evaluation.report_figures import draw_report_figures
from rrl.evaluation.robustness import perturbed, summarize_methods, summarize_policies
from rrl.evaluation.summary_figures import plot_attacks, plot_forest, plot_profile
from rrl.evaluation.sweep_figures import plot_curves, plot_differences, plot_heat_maps
from tests.evaluation.synthetic_results import METHODS, cell_result, synthetic_results

STYLES = method_styles(list(METHODS))


@pytest.fixture(scope="module")
def rows():
    return synthetic_results()


@pytest.fixture(scope="module")
def plane(rows):
    return tabulate([row for row in rows if row.sweep == "mass x friction"])


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


def test_curves_have_a_panel_for_each_sweep_with_all_methods_bands_and_the_unchanged_world(rows):
    figure = plot_curves(rows, ["mass", "action delay"], STYLES)
    assert [axes.get_title("left") for axes in figure.axes] == ["mass", "action delay"]
    assert figure.axes[0].get_ylabel() == "mean return (reward)"
    assert figure.axes[0].get_xlabel() == "mass (factor)"
    assert legend_texts(figure) == list(METHODS)
    nominal, first, *_ = figure.axes[0].lines
    assert set(nominal.get_xdata()) == {1.0}
    expected = np.mean([row.return_mean for row in rows if row.method == "TRPO" and row.cell == "mass sweep: mass=0.5"])
    assert first.get_ydata()[0] == pytest.approx(expected)
    assert len(figure.axes[0].collections) == len(METHODS)


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
    assert cross.get_xydata().tolist() == [[plane.cells[worst].value_1, plane.cells[worst].value_2]]


def test_heat_map_does_not_mark_an_unchanged_world_that_it_does_not_show():
    cells = [cell_result(cell=str(x), axis_2="gear", value_1=x, value_2=y) for x in (0.1, 0.2) for y in (0.3, 0.4)]
    cells = [
        cell_result(cell=f"{c.value_1} {c.value_2}", axis_2="gear", value_1=c.value_1, value_2=c.value_2) for c in cells
    ]
    panel = plot_heat_maps(tabulate(cells)).axes[0]
    assert [line.get_marker() for line in panel.lines] == ["x"]


def test_differences_leave_out_the_baseline_and_are_symmetric_about_zero(plane):
    figure = plot_differences(plane, "RARL")
    *panels, bar = figure.axes
    assert [axes.get_title("left") for axes in panels] == [method for method in METHODS if method != "RARL"]
    low, high = panels[0].collections[0].get_clim()
    assert low == -high
    assert "minus that of RARL" in bar.get_ylabel()


def test_forest_has_a_panel_for_each_known_number_with_unit_and_direction(rows):
    methods = summarize_methods(summarize_policies(rows))
    figure = plot_forest(methods, STYLES)
    assert len(figure.axes) == 9
    labels = {axes.get_title("left"): axes.get_xlabel() for axes in figure.axes}
    assert labels["failures"] == "% (lower is better)"
    assert labels["worst cell"] == "reward (higher is better)"
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == list(METHODS)


def test_profile_falls_from_all_cells_to_none(rows):
    (axes,) = plot_profile(tabulate(perturbed(rows)), STYLES).axes
    assert len(axes.lines) == len(METHODS)
    for line in axes.lines:
        shares = line.get_ydata()
        assert (shares[0], shares[-1]) == (100.0, 0.0)
        assert (np.diff(shares) <= 0).all()


def test_attacks_have_a_panel_for_each_attacker_and_a_group_for_each_force(rows):
    figure = plot_attacks([row for row in rows if row.kind == "attack"], STYLES)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["no attack", "random force", "pushes", "pushes of random strength", "strongest found"]
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()] == ["1.25", "5", "10"]
    assert len(figure.axes[1].patches) == 3 * len(METHODS)


def test_report_draws_what_there_is_and_nothing_else(rows):
    methods = summarize_methods(summarize_policies(rows))
    names = [figure.name for figure in draw_report_figures(rows, methods, "TRPO")]
    assert names == ["summary", "profile", "attacks", "curves", "heat_map_0", "difference_0"]
    nominal = [row for row in rows if row.kind == "nominal"]
    methods = summarize_methods(summarize_policies(nominal))
    assert [figure.name for figure in draw_report_figures(nominal, methods, "TRPO")] == ["summary"]
    methods = summarize_methods(summarize_policies(nominal[:1]))
    assert draw_report_figures(nominal[:1], methods, "TRPO") == []


def test_same_numbers_give_the_same_file_and_strange_names_are_drawn():
    shapes = {"<b> $x_1$ & é": METHODS["TRPO"], "_hidden": METHODS["RARL"]}
    rows = [row for row in synthetic_results(num_seeds=1, methods=shapes) if row.sweep == "mass"]
    first, second = (to_svg(plot_curves(rows, ["mass"], method_styles(list(shapes)))) for _ in range(2))
    assert first == second
    assert legend_texts(plot_curves(rows, ["mass"], method_styles(list(shapes)))) == list(shapes)
