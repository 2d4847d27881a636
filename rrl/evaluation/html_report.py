"""The robustness report as one HTML file that needs nothing else: no network, no scripts, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.evaluation.figure_style import method_styles
from rrl.evaluation.measures import MEASURES, Measure
from rrl.evaluation.report_figures import ReportFigure
from rrl.evaluation.report_sources import Provenance, describe
from rrl.evaluation.results import CellResult
from rrl.evaluation.robustness import MethodSummary, known_measures
from rrl.evaluation.seeds import compare
from rrl.evaluation.tables import UNKNOWN, format_estimates, format_numbers
from rrl.evaluation.verdict import TOPICS, findings, warnings

BADGES = {
    "clear": "clear",
    "tentative": "suggested, not settled",
    "open": "no clear difference",
    "unknown": "certainty unknown",
}
STATISTICS = (
    Measure(
        "IQM",
        "reward",
        "Interquartile mean: mean of the middle half of the mean returns of all sweeps and seeds.",
    ),
    Measure(
        "interval",
        "95 %",
        "Percentile bootstrap over the seeds: it tells how much the number would change with other training seeds.",
    ),
    Measure(
        "certainty",
        "verdict",
        "Clear: the interval of the difference leaves out zero, and a two-sided Mann-Whitney test has p < 0.05."
        " Suggested: only the former. No clear difference: the interval holds zero. Several methods are compared"
        " without a correction.",
    ),
    Measure(
        "better runs",
        "%",
        "Probability that a run of one method, drawn at random, is better than one of another; ties count half.",
    ),
)


def render_html(
    rows: Sequence[CellResult],
    methods: Sequence[MethodSummary],
    figures: Sequence[ReportFigure],
    provenance: Provenance,
    baseline: str,
) -> str:
    """Write the report.

    Args:
        rows: All rows.
        methods: Their summaries.
        figures: The figures.
        provenance: Where the numbers come from.
        baseline: The method that others are compared with.

    Returns:
        The page. All text in it is escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("rrl.evaluation")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("robustness.html.j2")
    names = [method.method for method in methods]
    return template.render(
        title=_title(rows, names),
        subtitle=_subtitle(rows, methods),
        findings=findings(methods),
        warnings=warnings(rows, methods),
        notes=provenance.notes,
        badges=BADGES,
        colors={name: look.color for name, look in method_styles(names).items()},
        methods=names,
        baseline=baseline,
        summary=_summary(methods),
        topics=[MEASURES[measure].label for measure in TOPICS],
        comparisons=_comparisons(methods, baseline),
        figures=figures,
        sweeps=_sweeps(methods),
        policy_columns=[MEASURES[name] for name in known_measures(methods)],
        policies=_policies(methods),
        definitions=[*MEASURES.values(), *STATISTICS],
        provenance=describe(rows, provenance),
        origins=provenance.origins(rows),
    )


def _title(rows: Sequence[CellResult], names: Sequence[str]) -> str:
    subject = names[0] if len(names) == 1 else f"{len(names)} methods"
    return f"Robustness of {subject} on {', '.join(dict.fromkeys(row.env_id for row in rows))}"


def _subtitle(rows: Sequence[CellResult], methods: Sequence[MethodSummary]) -> str:
    cells, policies = len({row.cell for row in rows}), sum(method.num_seeds for method in methods)
    noun = "policy" if policies == 1 else "policies"
    return f"{policies} {noun}, {cells} cells each, {sum(row.episodes for row in rows):,} episodes in all"


def _summary(methods: Sequence[MethodSummary]) -> dict[str, Any]:
    """Columns of all numbers that are known, and of the interquartile mean."""
    known = known_measures(methods)
    columns = [_estimates([method.estimates[name] for method in methods], MEASURES[name]) for name in known]
    labels = [MEASURES[name] for name in known]
    if any(np.isfinite(method.iqm.value) for method in methods):
        columns.insert(2, _estimates([method.iqm for method in methods], STATISTICS[0]))
        labels.insert(2, STATISTICS[0])
    cells = list(zip(*columns, strict=True))
    rows = [
        {"method": method.method, "num_seeds": method.num_seeds, "cells": cells[place]}
        for place, method in enumerate(methods)
    ]
    return {"columns": labels, "rows": rows}


def _estimates(estimates: Sequence[Any], measure: Measure) -> list[dict[str, Any]]:
    """A column of the summary: values, intervals, and which is best."""
    sign = 1.0 if measure.higher_is_better else -1.0
    values = [sign * estimate.value for estimate in estimates]
    best = np.nanmax(values) if np.isfinite(values).any() else np.nan
    return [
        {"value": value, "interval": interval, "best": score == best and len(values) > 1}
        for (value, interval), score in zip(format_estimates(estimates), values, strict=True)
    ]


def _comparisons(methods: Sequence[MethodSummary], baseline: str) -> list[dict[str, Any]]:
    reference = next(method for method in methods if method.method == baseline)
    return [
        {"method": method.method, "cells": [_comparison(method, reference, measure) for measure in TOPICS]}
        for method in methods
        if method is not reference
    ]


def _comparison(method: MethodSummary, reference: MethodSummary, measure: str) -> dict[str, str]:
    found = compare(method.scores(measure), reference.scores(measure))
    ((difference, interval),) = format_estimates([found.difference])
    sign = "+" if found.difference.value > 0.0 else ""
    value, low, high = (format_numbers([100.0 * share, 100.0])[0] for share in found.probability)
    better = f"better runs: {value} %" + (f" ({low}..{high})" if low != UNKNOWN else "")
    return {
        "difference": sign + difference,
        "interval": interval,
        "probability": better if value != UNKNOWN else "",
    }


def _sweeps(methods: Sequence[MethodSummary]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for method in methods for policy in method.policies for name in policy.sweep_means)
    return [
        {
            "sweep": name,
            "texts": format_numbers([
                float(np.mean([policy.sweep_means.get(name, np.nan) for policy in method.policies]))
                for method in methods
            ]),
        }
        for name in names
    ]


def _policies(methods: Sequence[MethodSummary]) -> list[dict[str, Any]]:
    """The columns of the summary for each policy, with the places of the worst cell and attack."""
    policies = [policy for method in methods for policy in method.policies]
    columns = {name: format_numbers([policy.values[name] for policy in policies]) for name in known_measures(methods)}
    rows = []
    for place, policy in enumerate(policies):
        places = {"worst": policy.worst_cell, "attack": policy.strongest_attack}
        cells = [{"text": texts[place], "place": places.get(name, "")} for name, texts in columns.items()]
        rows.append({"method": policy.method, "seed": policy.train_seed, "cells": cells})
    return rows
