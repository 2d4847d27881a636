"""What the numbers of each method say by themselves, in a sentence for somebody who has never seen such a report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rrl.evaluation.report.summary import RETAINED, Summary, mean_or_nan
from rrl.evaluation.report.verdict import format_numbers

if TYPE_CHECKING:
    from pandas import DataFrame

NORMAL_QUANTILE = 1.96
"""Half the width of a 95 % interval in standard errors."""


class Portrait(NamedTuple):
    """A method and what is to be known of it first."""

    method: str
    sentence: str


def portray(cells: DataFrame, summary: Summary) -> list[Portrait]:
    """Describe each method by itself: what it returns, where it holds, where it is worst, what breaks it."""
    return [Portrait(name, " ".join(_sentences(cells, summary, name))) for name in summary.names]


def _sentences(cells: DataFrame, summary: Summary, name: str) -> list[str]:
    policies = summary.policies.xs(name)
    sentences = [_nominal(cells[cells.method == name], len(policies))]
    if not math.isnan(held := policies.area80.mean()):
        sentences.append(f"It keeps {100 * RETAINED:.0f} % of that in {held:.0f} % of the perturbed worlds.")
        worst = policies.worst.idxmin()
        (value,) = format_numbers([policies.worst[worst]])
        if policies.worst[worst] >= policies.nominal.mean():
            sentences.append("It returns no less in any of them.")
        elif len(policies) == 1:
            sentences.append(f"Its worst world is “{policies.worst_cell[worst]}”, where it returns {value}.")
        else:
            sentences.append(f"The worst of its policies returns {value} in “{policies.worst_cell[worst]}”.")
    sweeps = summary.sweeps.xs(name).agg(mean_or_nan).dropna()
    if len(sweeps) > 1 and sweeps.min() < policies.nominal.mean():
        (lowest,) = format_numbers([sweeps.min()])
        sentences.append(f"What costs it most is {sweeps.idxmin()} (mean return {lowest}).")
    return [sentence for sentence in sentences if sentence]


def _nominal(cells: DataFrame, num_policies: int) -> str:
    """Say what is returned in the unchanged world; of a single policy with an interval over its episodes."""
    nominal = cells[cells.kind == "nominal"]
    if nominal.empty:
        return ""
    (value,) = format_numbers([nominal.return_mean.mean()])
    row = nominal.iloc[0]
    if num_policies > 1 or row.episodes < 2:
        return f"It returns {value} in the unchanged world."
    spread = NORMAL_QUANTILE * row.return_std / np.sqrt(row.episodes - 1)
    low, high = format_numbers([row.return_mean - spread, row.return_mean + spread])
    return (
        f"It returns {value} in the unchanged world ({low} to {high}: 95 % interval over its {row.episodes} episodes)."
    )
