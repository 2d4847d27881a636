"""How robust policies and methods are: a few numbers from many cells.

``cells`` is everywhere the table of all rows, with the columns of ``results.csv``: one row for each policy and cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.intervals import NOTHING, Estimate, interquartile_mean, mean_over_seeds, tail_mean

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Array = NDArray[np.float64]

POLICY = ["method", "policy", "train_seed"]
"""Columns that tell policies apart."""
RETAINED = 0.8
"""A cell is held if the return there is at least this fraction of the nominal return."""
OWN_ATTACK = "own"
"""Sweep of the attacks by the adversary with which a policy was trained. They are shown, but methods without such an
adversary would be favoured if they counted."""


class Measure(NamedTuple):
    """A number that describes a policy."""

    label: str
    unit: str
    meaning: str
    """One sentence for the reader."""
    higher_is_better: bool = True


MEASURES: Mapping[str, Measure] = MappingProxyType({
    "nominal": Measure("nominal", "reward", "Mean episode return in the unchanged world."),
    "mean": Measure("mean", "reward", "Mean of the returns over all perturbed cells; every cell counts the same."),
    "worst": Measure("worst cell", "reward", "Mean return in the cell where it is lowest."),
    "cvar10": Measure("CVaR10", "reward", "Mean return over the worst tenth of the perturbed cells."),
    "area80": Measure(
        "area80", "%", "Share of the perturbed cells where at least 80 % of the policy's own nominal return is kept."
    ),
    "attack": Measure(
        "strongest attack",
        "reward",
        "Mean return under the attack that lowers it the most; a policy's own adversary does not count.",
    ),
    "distance": Measure("distance", "m", "Mean forward distance of an episode in the unchanged world."),
    "perturbed_distance": Measure("distance, perturbed", "m", "Mean forward distance over all perturbed cells."),
    "failures": Measure(
        "failures", "%", "Share of the episodes in the perturbed cells that ended in a failure.", higher_is_better=False
    ),
})
"""What is reported of each policy, by key."""
IQM = Measure(
    "IQM", "reward", "Interquartile mean: mean of the middle half of the mean returns of all sweeps and seeds."
)
"""What is reported of each method besides, as ``iqm``."""


@dataclass(frozen=True)
class Summary:
    """What the cells say; everything in the order of the first rows."""

    policies: DataFrame
    """A line for each policy, indexed by ``POLICY``. Columns are the keys of ``MEASURES``, NaN where the cells do not
    say, and the names of the ``worst_cell`` and ``strongest_attack``, empty if there is none."""
    sweeps: DataFrame
    """Mean return over each sweep of perturbed cells. The same lines; NaN where a policy lacks the sweep."""
    methods: DataFrame
    """A line for each method, indexed by its name: ``seeds``, and the mean over them of each of ``MEASURES`` and
    ``iqm``, with the ends of its interval as ``_low`` and ``_high``."""

    @property
    def names(self) -> list[str]:
        """The methods."""
        return list(self.methods.index)

    @property
    def known(self) -> list[str]:
        """Keys of the measures that at least one method has."""
        return [name for name in MEASURES if np.isfinite(self.methods[name]).any()]

    def estimates(self, measure: str) -> list[Estimate]:
        """Return a number of each method with its interval; ``measure`` is a key of ``MEASURES``, or ``iqm``."""
        return [Estimate(*line) for line in self.methods[list(NOTHING.named(measure))].itertuples(index=False)]

    def scores(self, method: str, measure: str) -> Array:
        """Return a number of each policy of a method. Shape ``[S]``."""
        return np.asarray(self.policies.xs(method)[measure], dtype=np.float64)


class CellTable(NamedTuple):
    """Mean returns of the policies of each method in the same cells."""

    cells: DataFrame
    """A row for each cell, for its name and its place in the sweep; it may be of any policy."""
    returns: Mapping[str, Array]
    """By method, shape ``[S, C]``; NaN where a policy lacks a cell."""


def summarize(cells: DataFrame) -> Summary:
    """Summarise each policy, and each method over its policies; ``cells`` has at least one row."""
    import pandas as pd

    numbers = {key: _policy_numbers(rows) for key, rows in cells.groupby(POLICY, sort=False)}
    index = pd.MultiIndex.from_tuples(numbers, names=POLICY)
    policies = pd.DataFrame(list(numbers.values()), index)
    changed = perturbed(cells)
    sweeps = changed.pivot_table("return_mean", POLICY, "sweep", aggfunc=mean_or_nan)
    sweeps = sweeps.reindex(index=index, columns=changed.sweep.unique())
    methods = {
        method: _method_numbers(lines, sweeps.loc[lines.index])
        for method, lines in policies.groupby(level="method", sort=False)
    }
    return Summary(policies, sweeps, pd.DataFrame.from_dict(methods, orient="index").rename_axis("method"))


def perturbed(cells: DataFrame) -> DataFrame:
    """Keep the rows of perturbed worlds: neither the unchanged world, nor attacks."""
    return cells[cells.kind.isin(["physics", "noise", "push"])]


def mean_or_nan(numbers: Series) -> float:
    """Average; NaN if one of the numbers is, or there are none."""
    return float(numbers.mean(skipna=False))


def held_fraction(returns: Array, nominal: float) -> float:
    """Tell in what share of the cells, of mean returns ``[C]``, a policy keeps most of its nominal return.

    Where that is negative, a fifth of its size may be lost too; where it is unknown the share is NaN.

    Example:
        >>> held_fraction(np.array([50.0, 80.0, 120.0, 79.0]), nominal=100.0)
        0.5
    """
    if math.isnan(nominal):
        return math.nan
    return float(np.mean(returns >= nominal - (1.0 - RETAINED) * abs(nominal)))


def missing_cells(cells: DataFrame) -> int:
    """Count the pairs of policy and cell that are missing for completeness, apart from attacks by own adversaries."""
    shared = cells[~_is_own_attack(cells)]
    return int(cells.groupby(POLICY).ngroups * shared.cell.nunique() - shared.groupby([*POLICY, "cell"]).ngroups)


def tabulate(cells: DataFrame) -> CellTable:
    """Arrange rows by policy and cell, each of which occurs at most once."""
    import pandas as pd

    places = cells.drop_duplicates("cell")
    policies = pd.MultiIndex.from_frame(cells[POLICY].drop_duplicates())
    table = cells.pivot(index=POLICY, columns="cell", values="return_mean").reindex(index=policies, columns=places.cell)
    groups = table.groupby(level="method", sort=False)
    return CellTable(places, {method: lines.to_numpy(np.float64) for method, lines in groups})


def _policy_numbers(rows: DataFrame) -> dict[str, float | str]:
    nominal, changed = rows[rows.kind == "nominal"], perturbed(rows)
    attacks = rows[(rows.kind == "attack") & ~_is_own_attack(rows)]
    (worst_cell, worst), (strongest_attack, attack) = _lowest(changed), _lowest(attacks)
    nominal_return = mean_or_nan(nominal.return_mean)
    returns = changed.return_mean.to_numpy(copy=True)
    return {
        "nominal": nominal_return,
        "mean": mean_or_nan(changed.return_mean),
        "worst": worst,
        "cvar10": tail_mean(returns) if returns.size else math.nan,
        "area80": 100.0 * held_fraction(returns, nominal_return) if returns.size else math.nan,
        "distance": mean_or_nan(nominal.forward_distance),
        "perturbed_distance": mean_or_nan(changed.forward_distance),
        "failures": 100.0 * mean_or_nan(changed.failure_rate),
        "attack": attack,
        "worst_cell": worst_cell,
        "strongest_attack": strongest_attack,
    }


def _method_numbers(policies: DataFrame, sweeps: DataFrame) -> dict[str, float]:
    numbers: dict[str, float] = {"seeds": len(policies)}
    for name, *estimate in zip(MEASURES, *mean_over_seeds(policies[list(MEASURES)].to_numpy()), strict=True):
        numbers |= Estimate(*estimate).named(name)
    shared = sweeps.dropna(axis=1).sort_index(axis=1).to_numpy()
    return numbers | (interquartile_mean(shared) if shared.size else NOTHING).named("iqm")


def _is_own_attack(cells: DataFrame) -> Series:
    """Tell where the attacker is the adversary of the policy's training, which other policies do not have."""
    return (cells.kind == "attack") & (cells.sweep == OWN_ATTACK)


def _lowest(rows: DataFrame) -> tuple[str, float]:
    """Return name and return of the cell where the return is lowest, the first of several."""
    lowest = rows.sort_values("return_mean", kind="stable").head(1)
    return next(zip(lowest.cell, lowest.return_mean, strict=True), ("", math.nan))
