"""What the figures of a robustness report share: colours, panels, labels of axes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rrl.plots import STYLE

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
"""Okabe and Ito's palette without its yellow, which is too faint on white; safe for the colour-blind."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
Dashes = Literal["-", "--", ":", "none"]
DASHES: tuple[Dashes, ...] = ("-", "--", ":")
INK, FAINT = "#374151", "#9ca3af"
REPORT_STYLE: dict[Any, Any] = STYLE | {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "text.parse_math": False,  # a method may have a dollar sign in its name
    "svg.hashsalt": "rrl",  # the same numbers give the same file
}
LEGEND_HANDLE, LEGEND_LETTER, LEGEND_LINE = 0.65, 0.085, 0.24
"""About what an entry of a legend takes, inches."""
RETURN = "mean return (reward)"
UNITS = {
    "observation_noise": "standard deviation (observation units)",
    "action_noise": "standard deviation (half action ranges)",
    "action_delay": "delay (environment steps)",
    "reset_noise": "start state noise (factor)",
    "push_impulse": "force in one step (N)",
    "push_constant": "force in all steps (N)",
    "push_step": "force from a random time on (N)",
    "push_random": "limit of the random force (N)",
}


class MethodStyle(NamedTuple):
    """How a method looks in every figure."""

    color: str
    marker: str
    dashes: Dashes


def method_styles(methods: Sequence[str]) -> dict[str, MethodStyle]:
    """Give each method a look that it keeps in all figures; after seven methods colours come back with other dashes."""
    styles = [
        MethodStyle(color, marker, dashes) for dashes in DASHES for color, marker in zip(COLORS, MARKERS, strict=True)
    ]
    return {method: styles[place % len(styles)] for place, method in enumerate(methods)}


def axis_label(parameter: str) -> str:
    """Name an axis with its unit, by the parameter of a sweep as it stands in the rows.

    Example:
        >>> axis_label("mass"), axis_label("absolute mass of torso"), axis_label("action_delay")
        ('mass (factor)', 'mass of torso (absolute, SI units)', 'delay (environment steps)')
    """
    if parameter in UNITS:
        return UNITS[parameter]
    if parameter.startswith("absolute "):
        return f"{parameter.removeprefix('absolute ')} (absolute, SI units)"
    return f"{parameter} (factor)"


def nominal_value(parameter: str) -> float:
    """Tell at which value of a parameter the world is unchanged; NaN where that depends on the task."""
    if parameter.startswith("absolute "):
        return math.nan
    return 0.0 if parameter in UNITS and parameter != "reset_noise" else 1.0


def new_panels(
    count: int, *, columns: int, size: tuple[float, float], sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``count`` panels of the given size (inches), at most ``columns`` of them side by side."""
    columns = min(columns, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=sharex, sharey=sharey).ravel()
    for axes in grid[count:]:
        axes.remove()
    # A shared axis is labelled in the last line only; the panels above a gap need their numbers back.
    for axes in grid[max(count - columns, 0) : count]:
        axes.tick_params(labelbottom=True)
    return figure, list(grid[:count])


def add_legend(figure: Figure, styles: Mapping[str, MethodStyle]) -> None:
    """Put one legend of all methods above the panels, and make room for it."""
    width, height = figure.get_size_inches()
    lines = math.ceil(sum(LEGEND_HANDLE + LEGEND_LETTER * len(method) for method in styles) / width)
    figure.set_size_inches(width, height + LEGEND_LINE * lines)
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, linestyle=style.dashes, markersize=5, linewidth=2)
        for style in styles.values()
    ]
    figure.legend(handles, list(styles), loc="outside upper left", ncols=math.ceil(len(styles) / lines))


def to_svg(figure: Figure) -> bytes:
    """Return the content of a figure's SVG file. Letters are outlines, so it looks the same everywhere."""
    buffer = io.BytesIO()
    with mpl.rc_context(REPORT_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
