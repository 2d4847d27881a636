"""The verdict of a robustness evaluation: who is best, by how much, how certain that is, and what to be wary of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from rrl.evaluation.results import CellResult
from rrl.evaluation.robustness import MethodSummary, missing_cells
from rrl.evaluation.seeds import ENOUGH_SEEDS, FEWEST_SEEDS, Comparison, compare
from rrl.evaluation.tables import format_numbers

Certainty = Literal["clear", "tentative", "open", "unknown"]

TOPICS: Mapping[str, str] = MappingProxyType({
    "nominal": "In the unchanged world",
    "mean": "On average over the perturbed cells",
    "worst": "In the worst cell",
    "attack": "Under the strongest attack",
})
"""What the verdict is about, by the keys of ``MEASURES``."""
SIGNIFICANCE = 0.05
STILL_DISTANCE = 0.5
"""Metres; whoever moves less in an episode without falling stands still."""
STILL_RETURN = 0.25
"""Standing still is worth a warning where it earns at least this fraction of the best nominal return."""


class Finding(NamedTuple):
    """One sentence of the verdict."""

    topic: str
    sentence: str
    certainty: Certainty
    evidence: str
    """The numbers behind the certainty; empty where there is nothing to compare with."""


def certainty_of(comparison: Comparison) -> Certainty:
    """Put the certainty of a difference into a word.

    Args:
        comparison: One method against another.

    Returns:
        ``unknown`` without an interval; ``open`` if the interval of the difference holds zero; ``clear`` if it does
        not, and the rank test agrees; ``tentative`` if that does not, as it never can with three seeds each.
    """
    low, high = comparison.difference.low, comparison.difference.high
    if np.isnan(low):
        return "unknown"
    if low <= 0.0 <= high:
        return "open"
    return "clear" if comparison.p_value < SIGNIFICANCE else "tentative"


def findings(methods: Sequence[MethodSummary]) -> list[Finding]:
    """Judge who is best.

    Args:
        methods: All methods.

    Returns:
        A finding for each topic that was evaluated.
    """
    found = []
    for measure, topic in TOPICS.items():
        known = [method for method in methods if np.isfinite(method.estimates[measure].value)]
        if known:
            ranked = sorted(known, key=lambda method: -method.estimates[measure].value)
            found.append(_judge(topic, measure, ranked))
    return found


def warnings(rows: Sequence[CellResult], methods: Sequence[MethodSummary]) -> list[str]:
    """List what a reader must know before believing the numbers.

    Args:
        rows: All rows.
        methods: Their summaries.

    Returns:
        Sentences; none if all is well.
    """
    return [*_standing_still(rows, methods), *_few_seeds(methods), *_incomplete(rows)]


def _judge(topic: str, measure: str, ranked: Sequence[MethodSummary]) -> Finding:
    best, *others = ranked
    texts = format_numbers([method.estimates[measure].value for method in ranked])
    values = {method.method: f"{method.method} ({text})" for method, text in zip(ranked, texts, strict=True)}
    if not others:
        return Finding(topic, f"{best.method} returns {texts[0]}.", "unknown", "")
    comparisons = {other.method: compare(best.scores(measure), other.scores(measure)) for other in others}
    levels = {name: certainty_of(comparison) for name, comparison in comparisons.items()}
    nearest = comparisons[others[0].method]
    evidence = _evidence(nearest, best, others[0])
    if "unknown" in levels.values():
        sentence = (
            f"the highest mean is that of {values[best.method]}, then {values[others[0].method]}; that may be chance."
        )
        return Finding(topic, sentence, "unknown", evidence)
    rivals = [name for name, level in levels.items() if level == "open"]
    if rivals:
        behind = [values[name] for name in levels if name not in rivals]
        sentence = f"there is no clear difference between {_enumerate([values[best.method], *map(values.get, rivals)])}"
        rest = f"; {_enumerate(behind)} {'is' if len(behind) == 1 else 'are'} behind." if behind else "."
        return Finding(topic, sentence + rest, "open", evidence)
    certainty: Certainty = "tentative" if "tentative" in levels.values() else "clear"
    verb = "is best" if certainty == "clear" else "leads"
    lead = _lead(nearest, others[0], measure)
    return Finding(
        topic, f"{values[best.method]} {verb}, {lead} {values[others[0].method]}, the next.", certainty, evidence
    )


def _lead(comparison: Comparison, other: MethodSummary, measure: str) -> str:
    lead, base = comparison.difference.value, other.estimates[measure].value
    share = f" ({100 * lead / base:.0f} %)" if base > 0.0 else ""
    return f"by {format_numbers([lead])[0]}{share} ahead of"


def _evidence(comparison: Comparison, first: MethodSummary, second: MethodSummary) -> str:
    seeds = f"{first.num_seeds} and {second.num_seeds} seeds"
    difference = comparison.difference
    if np.isnan(difference.low):
        return f"{seeds}; an interval needs at least {FEWEST_SEEDS} each"
    low, high = format_numbers([difference.low, difference.high])
    lead = f"lead of {first.method} over {second.method}: 95 % interval {low} to {high}"
    return f"{lead}, p = {comparison.p_value:.2g}, {seeds}"


def _standing_still(rows: Sequence[CellResult], methods: Sequence[MethodSummary]) -> list[str]:
    """Find returns that are earned by staying upright rather than by moving."""
    best = max((method.estimates["nominal"].value for method in methods), default=np.nan)
    sentences = []
    for method in methods:
        cells = [row for row in rows if row.method == method.method and row.kind != "attack"]
        still = [row for row in cells if _stands(row, STILL_RETURN * best)]
        if not still:
            continue
        value = format_numbers([float(np.mean([row.return_mean for row in still]))])[0]
        nominal = ", also in the unchanged world" if any(row.kind == "nominal" for row in still) else ""
        share = f"{100 * len(still) / len(cells):.0f} %" if len(still) > 1 else "one"
        sentences.append(
            f"{method.method} stands still in {share} of its cells{nominal}: it moves less than {STILL_DISTANCE} m"
            f" without falling and yet returns {value} on average. Such a return says little about how well it moves."
        )
    return sentences


def _stands(row: CellResult, least_return: float) -> bool:
    # A comparison with NaN is false: neither tasks that do not move forward nor unknown returns are warned about.
    return abs(row.forward_distance) < STILL_DISTANCE and row.failure_rate < 0.5 and row.return_mean >= least_return


def _few_seeds(methods: Sequence[MethodSummary]) -> list[str]:
    fewest = min(method.num_seeds for method in methods)
    if fewest >= ENOUGH_SEEDS:
        return []
    if fewest < FEWEST_SEEDS:
        return [f"The fewest seeds of a method are {fewest}, which leaves no interval: any difference may be chance."]
    return [
        f"The fewest seeds of a method are {fewest}: its intervals are too narrow. Such intervals hold the truth in"
        " about 75 % of all cases with 3 seeds, 80 % with 4, 85 % with 5 and 90 % with 10, instead of 95 %."
    ]


def _incomplete(rows: Sequence[CellResult]) -> list[str]:
    missing = missing_cells(rows)
    if not missing:
        return []
    return [
        f"The evaluation is incomplete: {missing} cells of single policies are missing, so methods are not comparable."
    ]


def _enumerate(names: Sequence[str | None]) -> str:
    texts = list(map(str, names))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
