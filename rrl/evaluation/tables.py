"""Numbers as text, and the summary of an evaluation as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rrl.evaluation.measures import MEASURES
from rrl.evaluation.robustness import MethodSummary
from rrl.evaluation.statistics import Estimate

UNKNOWN = "-"
WIDTH = 120
"""Columns of the terminal that the table fits into."""
THOUSANDS_FROM = 1e5
"""From here on numbers are written in thousands, or the table would not fit."""
SHOWN = ("nominal", "mean", "worst", "cvar10", "area80", "distance", "attack")
"""Columns of the table, by the keys of ``MEASURES``."""


def format_numbers(values: Sequence[float]) -> list[str]:
    """Write numbers of one kind with the same number of decimals.

    Args:
        values: The numbers.

    Returns:
        Texts with about three significant digits of the largest; ``-`` for what is not a number.

    Example:
        >>> format_numbers([3105.4, -12.3, float("nan")])
        ['3,105', '-12', '-']
        >>> format_numbers([-4.3, 0.25])
        ['-4.30', '0.25']
        >>> format_numbers([162345.0, 9000.0])
        ['162k', '9k']
    """
    largest = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    if largest >= THOUSANDS_FROM:
        return [text if text == UNKNOWN else f"{text}k" for text in format_numbers([value / 1000 for value in values])]
    decimals = 0 if largest >= 100.0 else 1 if largest >= 10.0 else 2
    # Adding zero turns the -0.0 of a rounded small negative number into 0.0.
    return [UNKNOWN if np.isnan(value) else f"{round(value, decimals) + 0.0:,.{decimals}f}" for value in values]


def format_estimates(estimates: Sequence[Estimate]) -> list[tuple[str, str]]:
    """Write estimates of one kind.

    Args:
        estimates: The estimates.

    Returns:
        Value and interval of each, the latter as ``low..high``, or ``-`` where there is none.

    Example:
        >>> format_estimates([Estimate(120.0, 110.0, 130.0), Estimate(90.0, float("nan"), float("nan"))])
        [('120', '110..130'), ('90', '-')]
    """
    texts = format_numbers([number for estimate in estimates for number in estimate])
    triples = zip(texts[0::3], texts[1::3], texts[2::3], strict=True)
    return [(value, UNKNOWN if low == UNKNOWN else f"{low}..{high}") for value, low, high in triples]


def format_summary(methods: Sequence[MethodSummary]) -> str:
    """Lay the summary of all methods out for the terminal.

    Args:
        methods: The methods.

    Returns:
        Two lines a method, values and their 95 % intervals over the seeds, at most 120 columns wide.
    """
    columns = [_column(measure, methods) for measure in SHOWN]
    room = WIDTH - sum(2 + max(map(len, column)) for column in columns)
    names = [line for method in methods for line in (_shorten(f"{method.method} ({method.num_seeds})", room), "")]
    table = list(zip(["method (seeds)", "", *names], *columns, strict=True))
    widths = [max(len(row[place]) for row in table) for place in range(len(columns) + 1)]
    lines = [
        "  ".join([
            row[0].ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)),
        ])
        for row in table
    ]
    lines.insert(2, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def _column(measure: str, methods: Sequence[MethodSummary]) -> list[str]:
    """Heading, unit, then value and interval of each method."""
    cells = format_estimates([method.estimates[measure] for method in methods])
    label = MEASURES[measure].label.removeprefix("strongest ")
    return [label, MEASURES[measure].unit, *(text for cell in cells for text in cell)]


def _shorten(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"
