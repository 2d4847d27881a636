"""How robust policies and methods are: a few numbers from many cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.measures import MEASURES
from rrl.evaluation.results import CellResult
from rrl.evaluation.seeds import estimate_over_seeds, interquartile_mean, mean_over_seeds
from rrl.evaluation.statistics import Estimate, tail_mean

Array = NDArray[np.float64]

RETAINED = 0.8
"""A cell is held if the return there is at least this fraction of the nominal return."""


OWN_ATTACK = "own"
"""Sweep of the attacks by the adversary with which a policy was trained. They are shown, but methods without such an
adversary would be favoured if they counted."""


@dataclass(frozen=True)
class PolicySummary:
    """What the cells say about one policy."""

    method: str
    policy: str
    train_seed: int
    values: Mapping[str, float]
    """By the keys of ``MEASURES``; not a number where the cells do not say."""
    worst_cell: str
    """Name of the perturbed cell with the lowest return; empty if there is none."""
    strongest_attack: str
    """Name of the attack with the lowest return; empty if there is none."""
    sweep_means: Mapping[str, float]
    """Mean return over the cells of each sweep of perturbed cells."""


@dataclass(frozen=True)
class MethodSummary:
    """What the policies of one method, trained with different seeds, say about it."""

    method: str
    policies: tuple[PolicySummary, ...]
    estimates: Mapping[str, Estimate]
    """Mean over the seeds with its interval, by the keys of ``MEASURES``."""
    iqm: Estimate
    """Interquartile mean of the sweep means of all seeds."""

    @property
    def num_seeds(self) -> int:
        """Number of policies."""
        return len(self.policies)

    def scores(self, measure: str) -> Array:
        """Gather a number of all policies.

        Args:
            measure: A key of ``MEASURES``.

        Returns:
            One value a policy. Shape ``[S]``.
        """
        return np.array([policy.values[measure] for policy in self.policies])


def summarize_policies(rows: Sequence[CellResult]) -> list[PolicySummary]:
    """Summarise each policy.

    Args:
        rows: One for each policy and cell.

    Returns:
        A summary for each policy, in the order of their first rows.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one result, got none.")
    groups: dict[tuple[str, str, int], list[CellResult]] = {}
    for row in rows:
        groups.setdefault((row.method, row.policy, row.train_seed), []).append(row)
    return [_summarize_policy(group) for group in groups.values()]


def summarize_methods(policies: Sequence[PolicySummary]) -> list[MethodSummary]:
    """Summarise each method over its policies.

    Args:
        policies: At least one.

    Returns:
        A summary for each method, in the order of their first policies.
    """
    groups: dict[str, list[PolicySummary]] = {}
    for policy in policies:
        groups.setdefault(policy.method, []).append(policy)
    return [_summarize_method(method, group) for method, group in groups.items()]


def known_measures(methods: Sequence[MethodSummary]) -> list[str]:
    """List the numbers that at least one method has.

    Args:
        methods: The methods.

    Returns:
        Keys of ``MEASURES``.
    """
    return [name for name in MEASURES if any(np.isfinite(method.estimates[name].value) for method in methods)]


def perturbed(rows: Sequence[CellResult]) -> list[CellResult]:
    """Keep the rows of perturbed worlds: neither the unchanged world, nor attacks.

    Args:
        rows: Any rows.

    Returns:
        Those whose kind is physics, noise or push.
    """
    return [row for row in rows if row.kind in {"physics", "noise", "push"}]


def held_fraction(returns: Array, nominal: float) -> float:
    """Tell in what share of the cells a policy keeps most of its nominal return.

    Args:
        returns: Mean returns of the cells. Shape ``[C]``, ``C >= 1``.
        nominal: Mean return in the unchanged world. Where it is negative, a fifth of its size may be lost too.

    Returns:
        A fraction; not a number if the nominal return is not known.

    Example:
        >>> held_fraction(np.array([50.0, 80.0, 120.0, 79.0]), nominal=100.0)
        0.5
    """
    if np.isnan(nominal):
        return float("nan")
    return float(np.mean(returns >= nominal - (1.0 - RETAINED) * abs(nominal)))


def missing_cells(rows: Sequence[CellResult]) -> int:
    """Count the cells that some policy has and another lacks, apart from attacks by a policy's own adversary.

    Args:
        rows: Any rows.

    Returns:
        Missing pairs of policy and cell; 0 for a complete evaluation.
    """
    policies = {(row.method, row.policy, row.train_seed) for row in rows}
    shared = [row for row in rows if not _is_own_attack(row)]
    cells = {row.cell for row in shared}
    return len(policies) * len(cells) - len({(row.method, row.policy, row.train_seed, row.cell) for row in shared})


def _summarize_policy(rows: list[CellResult]) -> PolicySummary:
    nominal = [row for row in rows if row.kind == "nominal"]
    cells = perturbed(rows)
    worst = min(cells, key=lambda row: row.return_mean, default=None)
    attacks = [row for row in rows if row.kind == "attack" and not _is_own_attack(row)]
    attack = min(attacks, key=lambda row: row.return_mean, default=None)
    nominal_return = _mean(nominal, "return_mean")
    returns = _column(cells, "return_mean")
    sweeps = {name: [row for row in cells if row.sweep == name] for name in dict.fromkeys(row.sweep for row in cells)}
    values = {
        "nominal": nominal_return,
        "mean": _mean(cells, "return_mean"),
        "worst": worst.return_mean if worst else float("nan"),
        "cvar10": tail_mean(returns) if cells else float("nan"),
        "area80": 100.0 * held_fraction(returns, nominal_return) if cells else float("nan"),
        "distance": _mean(nominal, "forward_distance"),
        "perturbed_distance": _mean(cells, "forward_distance"),
        "failures": 100.0 * _mean(cells, "failure_rate"),
        "attack": attack.return_mean if attack else float("nan"),
    }
    return PolicySummary(
        method=rows[0].method,
        policy=rows[0].policy,
        train_seed=rows[0].train_seed,
        values=MappingProxyType(values),
        worst_cell=worst.cell if worst else "",
        strongest_attack=attack.cell if attack else "",
        sweep_means=MappingProxyType({name: _mean(group, "return_mean") for name, group in sweeps.items()}),
    )


def _summarize_method(method: str, policies: list[PolicySummary]) -> MethodSummary:
    scores = np.array([[policy.values[measure] for measure in MEASURES] for policy in policies])
    values, low, high = mean_over_seeds(scores)
    estimates = {
        measure: Estimate(*map(float, column))
        for measure, column in zip(MEASURES, zip(values, low, high, strict=True), strict=True)
    }
    sweeps = sorted(set.intersection(*(set(policy.sweep_means) for policy in policies)))
    means = np.array([[policy.sweep_means[sweep] for sweep in sweeps] for policy in policies])
    iqm = estimate_over_seeds(means, interquartile_mean) if sweeps else Estimate(*[float("nan")] * 3)
    return MethodSummary(method, tuple(policies), MappingProxyType(estimates), iqm)


def _is_own_attack(row: CellResult) -> bool:
    """Tell whether the attacker is the adversary of the policy's training, which other policies do not have."""
    return row.kind == "attack" and row.sweep == OWN_ATTACK


def _column(rows: Sequence[CellResult], name: str) -> Array:
    return np.array([getattr(row, name) for row in rows], dtype=np.float64)


def _mean(rows: Sequence[CellResult], name: str) -> float:
    return float(_column(rows, name).mean()) if rows else float("nan")
