"""The numbers that describe how robust a policy is, and what each of them means."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


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
