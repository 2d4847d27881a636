"""The verdict says no more than the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rrl.evaluation.robustness import summarize_methods, summarize_policies
from rrl.evaluation.seeds import compare
from rrl.evaluation.verdict import certainty_of, findings, warnings
from tests.evaluation.synthetic_results import METHODS, cell_result, synthetic_results


def nominal_rows(scores, **columns):
    """Nominal cells of methods by the returns of their seeds."""
    return [
        cell_result(
            method=method, policy=f"{method}{seed}", train_seed=seed, cell="nominal", kind="nominal", return_mean=value
        )
        for method, values in scores.items()
        for seed, value in enumerate(values)
    ]


def verdict_on(scores):
    (finding,) = findings(summarize_methods(summarize_policies(nominal_rows(scores))))
    return finding


def test_well_separated_methods_with_enough_seeds_have_a_clear_winner():
    finding = verdict_on({"A": [100, 101, 102, 103, 104], "B": [200, 201, 202, 203, 204], "C": [50, 51, 52, 53, 54]})
    assert finding.topic == "In the unchanged world"
    assert finding.certainty == "clear"
    assert finding.sentence == "B (202) is best, by 100 (98 %) ahead of A (102), the next."
    assert "p = 0.0079, 5 and 5 seeds" in finding.evidence


def test_three_seeds_are_never_clear_even_if_they_never_overlap():
    finding = verdict_on({"A": [100, 101, 102], "B": [200, 201, 202]})
    assert finding.certainty == "tentative"
    assert finding.sentence.startswith("B (201) leads")


def test_overlapping_methods_have_no_clear_difference_and_the_rest_is_named():
    finding = verdict_on({"A": [90, 100, 110, 120], "B": [91, 101, 111, 121], "C": [1, 2, 3, 4]})
    assert finding.certainty == "open"
    assert finding.sentence == "there is no clear difference between B (106) and A (105); C (2) is behind."


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_one_or_two_seeds_are_said_to_prove_nothing(num_seeds):
    finding = verdict_on({"A": [1.0] * num_seeds, "B": [2.0, 2.1, 2.2]})
    assert finding.certainty == "unknown"
    assert "may be chance" in finding.sentence
    assert "an interval needs at least 3 each" in finding.evidence


def test_single_method_is_described_without_a_contest():
    finding = verdict_on({"A": [100.0, 102.0, 104.0]})
    assert (finding.sentence, finding.evidence) == ("A returns 102.", "")


def test_negative_returns_have_no_percentage():
    assert "%" not in verdict_on({"A": [-9.0, -8.9, -8.8], "B": [-1.0, -1.1, -1.2]}).sentence


def test_topics_without_cells_are_left_out():
    topics = [finding.topic for finding in findings(summarize_methods(summarize_policies(synthetic_results())))]
    assert topics == [
        "In the unchanged world",
        "On average over the perturbed cells",
        "In the worst cell",
        "Under the strongest attack",
    ]


def test_equal_methods_are_rarely_called_different_and_never_clear_by_the_interval_alone():
    generator = np.random.default_rng(0)
    levels = [certainty_of(compare(generator.normal(size=10), generator.normal(size=10))) for _ in range(100)]
    assert levels.count("clear") <= 10
    assert levels.count("open") >= 80


def warnings_of(rows):
    return warnings(rows, summarize_methods(summarize_policies(rows)))


def test_standing_still_is_called_out():
    walkers = synthetic_results(num_seeds=5, methods={"TRPO": METHODS["TRPO"]})
    stander = [
        cell_result(
            method="Stander",
            policy=f"s{seed}",
            train_seed=seed,
            cell=cell,
            kind=kind,
            return_mean=1003.0,
            forward_distance=0.04,
        )
        for seed in range(5)
        for cell, kind in (("nominal", "nominal"), ("mass=0.5, friction=0.5", "physics"))
    ]
    found = [text for text in warnings_of([*walkers, *stander]) if "stands still" in text]
    assert len(found) == 1
    assert found[0].startswith("Stander stands still in 100 % of its cells, also in the unchanged world")
    assert "1,003" in found[0]


@pytest.mark.parametrize("changes", [{"failure_rate": 1.0}, {"return_mean": 20.0}, {"forward_distance": math.nan}])
def test_falling_losing_and_tasks_without_distance_are_not_standing_still(changes):
    rows = [
        cell_result(method="A", policy=f"a{seed}", cell="nominal", kind="nominal", return_mean=1000.0)
        for seed in range(5)
    ]
    still = {"return_mean": 900.0, "forward_distance": 0.1} | changes
    rows += [cell_result(method="B", policy=f"b{seed}", cell="nominal", kind="nominal", **still) for seed in range(5)]
    assert warnings_of(rows) == []


def test_few_seeds_and_missing_cells_are_called_out():
    assert "fewest seeds of a method are 3:" in warnings_of(synthetic_results(num_seeds=3))[0]
    assert "any difference may be chance" in warnings_of(synthetic_results(num_seeds=1))[0]
    assert any("2 cells of single policies are missing" in text for text in warnings_of(synthetic_results()[:-2]))
