"""The robustness report as one HTML file that needs nothing else: no network, no scripts, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rrl.evaluation.intervals import Estimate, compare
from rrl.evaluation.report.figures import ReportFigure
from rrl.evaluation.report.figures_panels import Ranges
from rrl.evaluation.report.figures_style import method_styles
from rrl.evaluation.report.films import Films
from rrl.evaluation.report.portraits import portray
from rrl.evaluation.report.summary import IQM, MEASURES, POLICY, Measure, Summary, mean_or_nan
from rrl.evaluation.report.verdict import TOPICS, UNKNOWN, format_estimates, format_numbers, judge, warnings
from rrl.tracking.provenance import git_commit, package_versions

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class PolicyOrigin:
    """Where a policy came from: method, policy and seed of its rows, and what is known of its training."""

    method: str
    policy: str
    train_seed: int
    env_steps: int | None = None
    run_id: str | None = None
    """MLflow run that trained it."""
    tracking_uri: str | None = None
    note: str = ""
    """What a reader must know of it, such as which statistics normalise its observations."""
    physics: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Factors of the nominal physics that its training drew from, by parameter."""


@dataclass(frozen=True)
class Provenance:
    """What a reader needs in order to repeat an evaluation."""

    command: str
    seed: int
    """Seed of the evaluation's episodes."""
    policies: tuple[PolicyOrigin, ...] = ()
    """Policies that are not among them are described by their rows."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the verdict, such as those of the suite and the budget of the attacks."""

    def origin_of(self, method: str, policy: str, train_seed: int) -> PolicyOrigin:
        """Look up where a policy came from; only its name and seed, if nothing else is known."""
        key = (method, policy, train_seed)
        known = (origin for origin in self.policies if (origin.method, origin.policy, origin.train_seed) == key)
        return next(known, PolicyOrigin(*key))

    def training_ranges(self) -> Ranges:
        """Return the physics that the policies of each method were trained in, where that is one range for all."""
        found: dict[str, Mapping[str, tuple[float, float]]] = {}
        for origin in self.policies:
            found[origin.method] = origin.physics if found.get(origin.method, origin.physics) == origin.physics else {}
        return {method: ranges for method, ranges in found.items() if ranges}

    def describe(self, cells: DataFrame) -> list[tuple[str, str]]:
        """Describe in terms and texts how the rows were made."""
        commit = git_commit(Path(__file__).parent)
        state = " with changes" if commit.get("git_dirty") == "true" else ""
        return [
            ("Environment", ", ".join(cells.env_id.unique())),
            ("Suite", ", ".join(cells.suite.unique())),
            ("Episodes in each cell", " or ".join(map(str, sorted(cells.episodes.unique())))),
            ("Evaluation seed", str(self.seed)),
            ("Simulation time", f"{cells.seconds.sum() / 60:.1f} minutes"),
            ("Commit", f"{commit['git_commit']}{state}" if commit else "not known"),
            ("Versions", ", ".join(f"{name} {version}" for name, version in package_versions().items())),
            ("Command", self.command),
        ]


BADGES = {
    "clear": "clear",
    "tentative": "suggested, not settled",
    "open": "no clear difference",
    "unknown": "certainty unknown",
}
STATISTICS = (
    IQM,
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
    cells: DataFrame,
    summary: Summary,
    figures: Sequence[ReportFigure],
    provenance: Provenance,
    baseline: str,
    films: Films | None = None,
) -> str:
    """Write the page; others are compared with the method ``baseline``, and all text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("rrl.evaluation.report", "")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("page.html.j2")
    names = summary.names
    subject = names[0] if len(names) == 1 else f"{len(names)} methods"
    return template.render(
        title=f"Robustness of {subject} on {cells.env_id.iloc[0]}",
        subtitle=_subtitle(cells, summary) + _budget(provenance),
        findings=judge(summary),
        portraits=portray(cells, summary),
        warnings=warnings(cells, summary),
        notes=provenance.notes,
        badges=BADGES,
        colors={name: look.color for name, look in method_styles(names).items()},
        methods=names,
        baseline=baseline,
        summary=_methods(summary),
        topics=[MEASURES[measure].label for measure in TOPICS],
        comparisons=_comparisons(summary, baseline),
        films=films,
        figures=figures,
        sweeps=_sweeps(summary),
        policy_columns=[MEASURES[name] for name in summary.known],
        policies=_policies(summary),
        definitions=[*MEASURES.values(), *STATISTICS],
        provenance=provenance.describe(cells),
        origins=[provenance.origin_of(*key) for key in summary.policies.index],
    )


def _subtitle(cells: DataFrame, summary: Summary) -> str:
    """Say how much has been simulated."""
    noun = "policy" if len(summary.policies) == 1 else "policies"
    return (
        f"{len(summary.policies)} {noun}, {cells.cell.nunique()} cells each, {cells.episodes.sum():,} episodes in all"
        f" ({cells.seconds.sum() / 60:,.1f} minutes of simulation)"
    )


def _budget(provenance: Provenance) -> str:
    """Say how long the policies have been trained, as far as that is known."""
    steps = sorted({origin.env_steps for origin in provenance.policies if origin.env_steps})
    if not steps:
        return ""
    ends = dict.fromkeys((steps[0], steps[-1]))
    return f"; trained for {' to '.join(f'{number:,}' for number in ends)} environment steps"


def _methods(summary: Summary) -> dict[str, Any]:
    """Columns of all numbers that are known, and of the interquartile mean; the best mean over the cells first."""
    measures = {name: MEASURES[name] for name in summary.known}
    columns = [_estimates(summary.estimates(name), measure) for name, measure in measures.items()]
    labels = list(measures.values())
    if np.isfinite(summary.methods.iqm).any():
        columns.insert(2, _estimates(summary.estimates("iqm"), IQM))
        labels.insert(2, IQM)
    found = list(zip(summary.methods.seeds.items(), zip(*columns, strict=True), strict=True))
    order = np.argsort(-summary.methods["mean"].to_numpy(np.float64), kind="stable")  # NaN last
    rows = [found[place] for place in order]
    return {
        "columns": labels,
        "rows": [{"method": name, "num_seeds": seeds, "cells": cells} for (name, seeds), cells in rows],
    }


def _estimates(estimates: Sequence[Estimate], measure: Measure) -> list[dict[str, Any]]:
    """A column of the summary: values, intervals, and which is best."""
    sign = 1.0 if measure.higher_is_better else -1.0
    scores = [sign * estimate.value for estimate in estimates]
    best = np.nanmax(scores) if np.isfinite(scores).any() else np.nan
    return [
        {"value": value, "interval": interval, "best": score == best and len(scores) > 1}
        for (value, interval), score in zip(format_estimates(estimates), scores, strict=True)
    ]


def _comparisons(summary: Summary, baseline: str) -> list[dict[str, Any]]:
    return [
        {"method": method, "cells": [_comparison(summary, method, baseline, measure) for measure in TOPICS]}
        for method in summary.names
        if method != baseline
    ]


def _comparison(summary: Summary, method: str, baseline: str, measure: str) -> dict[str, str]:
    found = compare(summary.scores(method, measure), summary.scores(baseline, measure))
    ((difference, interval),) = format_estimates([found.difference])
    sign = "+" if found.difference.value > 0.0 else ""
    value, low, high = (format_numbers([100.0 * share, 100.0])[0] for share in found.probability)
    better = f"better runs: {value} %" + (f" ({low}..{high})" if low != UNKNOWN else "")
    return {"difference": sign + difference, "interval": interval, "probability": better if value != UNKNOWN else ""}


def _sweeps(summary: Summary) -> list[dict[str, Any]]:
    """The mean over the seeds of each method; unknown where one of them lacks the sweep."""
    means = summary.sweeps.groupby(level="method", sort=False).agg(mean_or_nan)
    return [{"sweep": name, "texts": format_numbers(values)} for name, values in means.items()]


def _policies(summary: Summary) -> list[dict[str, Any]]:
    """The columns of the summary for each policy, with the places of the worst cell and attack."""
    policies = summary.policies.reset_index()
    texts = {name: format_numbers(policies[name]) for name in summary.known}
    places = {"worst": policies.worst_cell, "attack": policies.strongest_attack}
    return [
        {
            "method": method,
            "seed": seed,
            "cells": [
                {"text": column[line], "place": places[name][line] if name in places else ""}
                for name, column in texts.items()
            ],
        }
        for line, (method, _, seed) in enumerate(policies[POLICY].itertuples(index=False))
    ]
