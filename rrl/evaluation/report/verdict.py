"""The verdict of a robustness evaluation: who is best, how certain that is, what to beware of; its numbers as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rrl.evaluation.intervals import ENOUGH_SEEDS, FEWEST_SEEDS, Comparison, Estimate, compare
from rrl.evaluation.report.summary import MEASURES, POLICY, Summary, missing_cells

if TYPE_CHECKING:
    from pandas import DataFrame

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
UNKNOWN = "-"
WIDTH = 120
"""Columns of the terminal that the table fits into."""
THOUSANDS_FROM = 1e5
"""From here on numbers are written in thousands, or the table would not fit."""
SHOWN = ("nominal", "mean", "worst", "cvar10", "area80", "distance", "attack")
"""Columns of the table, by the keys of ``MEASURES``."""


class Judgement(NamedTuple):
    """One sentence of the verdict, with the numbers behind its certainty, if there is anything to compare with."""

    topic: str
    sentence: str
    certainty: Certainty
    evidence: str


def certainty_of(comparison: Comparison) -> Certainty:
    """Put the certainty of a difference into a word; the rank test can never agree with three seeds each."""
    difference = comparison.difference
    if not difference.has_interval:
        return "unknown"
    if difference.low <= 0.0 <= difference.high:
        return "open"
    return "clear" if comparison.p_value < SIGNIFICANCE else "tentative"


def judge(summary: Summary) -> list[Judgement]:
    """Judge who is best in each topic that was evaluated."""
    means = {measure: summary.methods[measure].dropna() for measure in TOPICS}
    return [
        _judge(summary, measure, list(known.sort_values(ascending=False, kind="stable").index))
        for measure, known in means.items()
        if len(known)
    ]


def warnings(cells: DataFrame, summary: Summary) -> list[str]:
    """List in sentences what makes numbers mean less than they seem to."""
    sentences = [*_standing_still(cells, summary), *_repeated_seeds(cells), *_few_seeds(summary)]
    if missing := missing_cells(cells):
        sentences.append(
            f"The evaluation is incomplete: {missing} cells of single policies are missing, so methods are not"
            " comparable."
        )
    return sentences


def format_numbers(values: Sequence[float]) -> list[str]:
    """Write numbers of one kind with the same decimals: about three significant digits of the largest.

    Example:
        >>> format_numbers([3105.4, -12.3, float("nan")])
        ['3,105', '-12', '-']
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
    """Write value and interval of each of several estimates of one kind.

    Example:
        >>> format_estimates([Estimate(120.0, 110.0, 130.0), Estimate(90.0)])
        [('120', '110..130'), ('90', '-')]
    """
    texts = format_numbers([number for estimate in estimates for number in estimate])
    triples = zip(texts[0::3], texts[1::3], texts[2::3], strict=True)
    return [(value, UNKNOWN if low == UNKNOWN else f"{low}..{high}") for value, low, high in triples]


def format_summary(summary: Summary) -> str:
    """Lay the summary of all methods out for the terminal.

    Returns:
        Two lines a method, values and their 95 % intervals over the seeds, at most 120 columns wide; and a line that
        says why intervals are missing.
    """
    columns = [_column(measure, summary) for measure in SHOWN]
    room = WIDTH - sum(2 + max(map(len, column)) for column in columns)
    headings = [f"{name} ({seeds})" for name, seeds in summary.methods.seeds.items()]
    short = [name if len(name) <= room else f"{name[: room - 1]}…" for name in headings]
    names = [line for name in short for line in (name, "")]
    table = list(zip(["method (seeds)", "", *names], *columns, strict=True))
    widths = [max(len(row[place]) for row in table) for place in range(len(columns) + 1)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table]
    lines.insert(2, "-" * (sum(widths) + 2 * len(columns)))
    if summary.methods.seeds.min() < FEWEST_SEEDS:
        lines.append(f"No interval ({UNKNOWN}) with fewer than {FEWEST_SEEDS} seeds.")
    return "\n".join(lines)


def _judge(summary: Summary, measure: str, ranked: Sequence[str]) -> Judgement:
    topic, (best, *others) = TOPICS[measure], ranked
    texts = format_numbers(summary.methods[measure][ranked])
    values = {name: f"{name} ({text})" for name, text in zip(ranked, texts, strict=True)}
    if not others:
        return Judgement(topic, f"{best} returns {texts[0]}.", "unknown", "")
    scores = {name: summary.scores(name, measure) for name in ranked}
    comparisons = {other: compare(scores[best], scores[other]) for other in others}
    levels = {name: certainty_of(comparison) for name, comparison in comparisons.items()}
    nearest = comparisons[others[0]]
    evidence = _evidence(nearest, summary, best, others[0])
    if len(set(texts)) == 1:
        return Judgement(
            topic, f"all are level at {texts[0]}, so that this does not tell them apart.", "open", evidence
        )
    if "unknown" in levels.values():
        sentence = f"the highest mean is that of {values[best]}, then {values[others[0]]}; that may be chance."
        return Judgement(topic, sentence, "unknown", evidence)
    rivals = [name for name, level in levels.items() if level == "open"]
    if rivals:
        behind = [values[name] for name in levels if name not in rivals]
        clearly = all(levels[name] == "clear" for name in levels if name not in rivals)
        verb = (
            ("is" if len(behind) == 1 else "are") if clearly else ("seems to be" if len(behind) == 1 else "seem to be")
        )
        sentence = f"there is no clear difference between {_enumerate([values[name] for name in (best, *rivals)])}"
        rest = f"; {_enumerate(behind)} {verb} behind." if behind else "."
        return Judgement(topic, sentence + rest, "open", evidence)
    certainty: Certainty = "tentative" if "tentative" in levels.values() else "clear"
    verb = "is best" if certainty == "clear" else "leads"
    lead, base = nearest.difference.value, summary.methods[measure][others[0]]
    share = f" ({100 * lead / base:.0f} %)" if base > 0.0 else ""
    distance = f"by {format_numbers([lead])[0]}{share} ahead of {values[others[0]]}, the next."
    return Judgement(topic, f"{values[best]} {verb}, {distance}", certainty, evidence)


def _evidence(comparison: Comparison, summary: Summary, first: str, second: str) -> str:
    one, other = summary.methods.seeds[first], summary.methods.seeds[second]
    difference = comparison.difference
    if not difference.has_interval:
        have = f"{one} and {other} seeds" if one != other else "1 seed each" if one == 1 else f"{one} seeds each"
        return f"{have}; an interval needs at least {FEWEST_SEEDS}"
    seeds = f"{one} and {other} seeds"
    low, high = format_numbers([difference.low, difference.high])
    return f"lead of {first} over {second}: 95 % interval {low} to {high}, p = {comparison.p_value:.2g}, {seeds}"


def _standing_still(cells: DataFrame, summary: Summary) -> list[str]:
    """Find returns that are earned by staying upright rather than by moving."""
    cells = cells[cells.kind != "attack"]
    # A comparison with NaN is false: neither tasks that do not move forward nor unknown returns are warned about.
    stands = (cells.forward_distance.abs() < STILL_DISTANCE) & (cells.failure_rate < 0.5)
    stands &= cells.return_mean >= STILL_RETURN * summary.methods.nominal.max()
    sentences = []
    for method, still in cells[stands].groupby("method", sort=False):
        value = format_numbers([still.return_mean.mean()])[0]
        nominal = ", also in the unchanged world" if "nominal" in still.kind.values else ""
        share = f"{100 * len(still) / (cells.method == method).sum():.0f} %" if len(still) > 1 else "one"
        sentences.append(
            f"{method} stands still in {share} of its cells{nominal}: it moves less than {STILL_DISTANCE} m"
            f" without falling and yet returns {value} on average. Such a return says little about how well it moves."
        )
    return sentences


def _repeated_seeds(cells: DataFrame) -> list[str]:
    """Find methods of which several policies come from one seed of the training."""
    policies = cells.drop_duplicates(POLICY)
    counts = policies.groupby(["method", "train_seed"], sort=False).size()
    return [
        f"{count} policies of {method} were trained with seed {seed}: they may be copies or stages of one training, and"
        " intervals over them say too little of other seeds."
        for (method, seed), count in counts[counts > 1].items()
    ]


def _few_seeds(summary: Summary) -> list[str]:
    fewest = summary.methods.seeds.min()
    if fewest >= ENOUGH_SEEDS:
        return []
    if fewest < FEWEST_SEEDS:
        return [f"The fewest seeds of a method are {fewest}, which leaves no interval: any difference may be chance."]
    return [
        f"The fewest seeds of a method are {fewest}: its intervals are too narrow. Such intervals hold the truth in"
        " about 75 % of all cases with 3 seeds, 80 % with 4, 85 % with 5 and 90 % with 10, instead of 95 %."
    ]


def _column(measure: str, summary: Summary) -> list[str]:
    """Heading, unit, then value and interval of each method."""
    label, unit, *_ = MEASURES[measure]
    cells = format_estimates(summary.estimates(measure))
    return [label.removeprefix("strongest "), unit, *(text for cell in cells for text in cell)]


def _enumerate(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
