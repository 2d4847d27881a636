"""The figures of a robustness report, each with a sentence that tells how to read it."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.figure import Figure

from rrl.evaluation.report.figures_panels import (
    Ranges,
    plot_attacks,
    plot_curves,
    plot_differences,
    plot_forest,
    plot_heat_maps,
    plot_profile,
)
from rrl.evaluation.report.figures_style import method_styles, nominal_value, to_svg
from rrl.evaluation.report.summary import Summary, perturbed, tabulate

if TYPE_CHECKING:
    from pandas import DataFrame


class ReportFigure(NamedTuple):
    """A figure in a report; ``name`` is that of its file, without ending, and the caption tells how to read it."""

    name: str
    title: str
    caption: str
    svg: bytes

    @property
    def data_uri(self) -> str:
        """The figure itself as an address, so that a page needs no other file."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


TEXTS = {
    "summary": (
        "The numbers at a glance",
        "Large marks are means over the seeds, bars their 95 % intervals, small dots the single seeds: methods whose"
        " bars are well apart differ.",
    ),
    "profile": (
        "Performance profile",
        "For each return, the share of the perturbed cells in which a method gets more: the higher a curve, the better,"
        " and its left end shows the bad cells. Bands are 95 % intervals over the seeds.",
    ),
    "attacks": (
        "Returns under attack",
        "Higher bars withstand the attacker better; black lines are 95 % intervals. The strongest found is searched for"
        " each finished policy anew; its own adversary is that of its training.",
    ),
    "curves": (
        "One thing changes at a time",
        "The dotted line is the unchanged world: the flatter a curve is around it, the more robust the method. Bands"
        " are 95 % intervals over the seeds.",
    ),
    "heat_map": (
        "{sweep}: returns",
        "Bright is good, on one scale for all methods, whose seeds are averaged. The square is the unchanged world, the"
        " cross the worst cell.",
    ),
    "difference": (
        "{sweep}: compared with {baseline}",
        "Where it is blue, a method returns more than {baseline}; where it is red, less. The square is the unchanged"
        " world.",
    ),
}
"""Title and caption, by the name of the figure without its number."""
TRAINED = {
    "curves": " Bars at the foot of a panel span the physics that a method was trained in.",
    "heat_map": " The dashed frame holds the physics that a method was trained in.",
}
"""What is added to a caption where such ranges are known."""


def draw_report_figures(
    cells: DataFrame, summary: Summary, baseline: str, ranges: Ranges = MappingProxyType({})
) -> list[ReportFigure]:
    """Draw whatever the rows have data for, in the order of the report; others are compared with ``baseline``.

    ``ranges`` are the factors of the physics that each method was trained in, where that is known.
    """
    figures = []
    for name, sweep, figure in _figures(cells, summary, baseline, ranges):
        kind = name.rstrip("_0123456789")
        title, caption = (text.format(sweep=sweep, baseline=baseline) for text in TEXTS[kind])
        caption += TRAINED[kind] if kind in TRAINED and _shows_ranges(cells, sweep, ranges) else ""
        figures.append(ReportFigure(name, title, caption, to_svg(figure)))
    return figures


def _shows_ranges(cells: DataFrame, sweep: str, ranges: Ranges) -> bool:
    """Tell whether a method was trained in a range of what changes in a sweep, or in any along one axis."""
    rows = cells[cells.sweep == sweep] if sweep else cells[cells.axis_2 == ""]
    return any({*rows.axis_1, *rows.axis_2} & {*each} for each in ranges.values())


def sweeps_by_axes(cells: DataFrame) -> tuple[list[str], list[str]]:
    """Return the names of the sweeps of perturbed cells along one axis, and of those along two."""
    first, second = cells.axis_1 != "", cells.axis_2 != ""
    return list(cells.sweep[first & ~second].unique()), list(cells.sweep[first & second].unique())


def with_unchanged_world(cells: DataFrame, sweeps: Sequence[str]) -> DataFrame:
    """Return the rows of sweeps along one axis, each with the unchanged world at its place if no row stands there."""
    import pandas as pd

    nominal, parts = cells[cells.kind == "nominal"], []
    for sweep in sweeps:
        rows = cells[cells.sweep == sweep]
        parameter = rows.axis_1.iloc[0]
        value = nominal_value(parameter)
        missing = not math.isnan(value) and not (rows.value_1 - value).abs().lt(1e-9).any()
        parts += [rows, nominal.assign(sweep=sweep, axis_1=parameter, value_1=value)] if missing else [rows]
    return pd.concat(parts)


def _figures(cells: DataFrame, summary: Summary, baseline: str, ranges: Ranges) -> Iterator[tuple[str, str, Figure]]:
    """Yield the name of each figure, its sweep if it is about one, and the figure."""
    styles = method_styles(summary.names)
    if len(summary.policies) > 1:
        yield "summary", "", plot_forest(summary, styles)
    changed, attacks = perturbed(cells), cells[cells.kind == "attack"]
    if len(changed):
        yield "profile", "", plot_profile(tabulate(changed), styles)
    if len(attacks):
        yield "attacks", "", plot_attacks(attacks, styles)
    one_axis, two_axes = sweeps_by_axes(changed)
    if one_axis:
        yield "curves", "", plot_curves(with_unchanged_world(cells, one_axis), one_axis, styles, ranges)
    for place, sweep in enumerate(two_axes):
        table = tabulate(changed[changed.sweep == sweep])
        yield f"heat_map_{place}", sweep, plot_heat_maps(table, ranges)
        if baseline in table.returns and len(table.returns) > 1:
            yield f"difference_{place}", sweep, plot_differences(table, baseline)
