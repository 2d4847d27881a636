"""The verdict says no more than the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rrl.evaluation.intervals import compare
from rrl.evaluation.report.summary import summarize
from rrl.evaluation.report.verdict import (
    SHOWN,
    WIDTH,
    certainty_of,
    format_numbers,
    format_summary,
    judge,
    warnings,
)
from tests.evaluation.synthetic_results import METHODS, cell_result, synthetic_results, table


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
    (judgement,) = judge(summarize(table(nominal_rows(scores))))
    return judgement


def test_well_separated_methods_with_enough_seeds_have_a_clear_winner():
    judgement = verdict_on({"A": [100, 101, 102, 103, 104], "B": [200, 201, 202, 203, 204], "C": [50, 51, 52, 53, 54]})
    assert judgement.topic == "In the unchanged world"
    assert judgement.certainty == "clear"
    assert judgement.sentence == "B (202) is best, by 100 (98 %) ahead of A (102), the next."
    assert "p = 0.0079, 5 and 5 seeds" in judgement.evidence


def test_three_seeds_are_never_clear_even_if_they_never_overlap():
    judgement = verdict_on({"A": [100, 101, 102], "B": [200, 201, 202]})
    assert judgement.certainty == "tentative"
    assert judgement.sentence.startswith("B (201) leads")


def test_overlapping_methods_have_no_clear_difference_and_the_rest_is_named():
    judgement = verdict_on({"A": [90, 100, 110, 120], "B": [91, 101, 111, 121], "C": [1, 2, 3, 4]})
    assert judgement.certainty == "open"
    assert judgement.sentence == "there is no clear difference between B (106) and A (105); C (2) is behind."


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_one_or_two_seeds_are_said_to_prove_nothing(num_seeds):
    judgement = verdict_on({"A": [1.0] * num_seeds, "B": [2.0, 2.1, 2.2]})
    assert judgement.certainty == "unknown"
    assert "may be chance" in judgement.sentence
    assert judgement.evidence.endswith("; an interval needs at least 3")


@pytest.mark.parametrize(("num_seeds", "said"), [(1, "1 seed each;"), (2, "2 seeds each;")])
def test_as_few_seeds_of_both_are_counted_in_words(num_seeds, said):
    evidence = verdict_on({"A": [1.0] * num_seeds, "B": [2.0] * num_seeds}).evidence
    assert evidence.startswith(said)


@pytest.mark.parametrize("num_seeds", [1, 5])
def test_methods_that_are_level_are_not_ranked(num_seeds):
    judgement = verdict_on({"A": [1000.0] * num_seeds, "B": [1000.0] * num_seeds})
    assert judgement.certainty == "open"
    assert judgement.sentence == "all are level at 1,000, so that this does not tell them apart."


def test_single_method_is_described_without_a_contest():
    judgement = verdict_on({"A": [100.0, 102.0, 104.0]})
    assert (judgement.sentence, judgement.evidence) == ("A returns 102.", "")


def test_negative_returns_have_no_percentage():
    assert "%" not in verdict_on({"A": [-9.0, -8.9, -8.8], "B": [-1.0, -1.1, -1.2]}).sentence


def test_topics_without_cells_are_left_out():
    topics = [judgement.topic for judgement in judge(summarize(table(synthetic_results())))]
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
    return warnings(table(rows), summarize(table(rows)))


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
        cell_result(method="A", policy=f"a{seed}", train_seed=seed, cell="nominal", kind="nominal", return_mean=1000.0)
        for seed in range(5)
    ]
    still = {"return_mean": 900.0, "forward_distance": 0.1} | changes
    rows += [
        cell_result(method="B", policy=f"b{seed}", train_seed=seed, cell="nominal", kind="nominal", **still)
        for seed in range(5)
    ]
    assert warnings_of(rows) == []


def test_policies_of_one_seed_are_called_out():
    rows = nominal_rows({"A": [1.0, 2.0, 3.0], "B": [1.0, 2.0, 3.0]})
    assert not any("seed 1" in sentence for sentence in warnings_of(rows))
    copy = cell_result(method="A", policy="copy", train_seed=1, cell="nominal", kind="nominal")
    assert any(
        sentence.startswith("2 policies of A were trained with seed 1:") for sentence in warnings_of([*rows, copy])
    )


def test_few_seeds_and_missing_cells_are_called_out():
    assert "fewest seeds of a method are 3:" in warnings_of(synthetic_results(num_seeds=3))[0]
    assert "any difference may be chance" in warnings_of(synthetic_results(num_seeds=1))[0]
    assert any("2 cells of single policies are missing" in text for text in warnings_of(synthetic_results()[:-2]))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([99999.0], ["99,999"]),
        ([-1234567.0, 1.0, math.nan], ["-1,235k", "0k", "-"]),
        ([99.0, 3.14159], ["99.0", "3.1"]),
        ([0.0], ["0.00"]),
        ([-0.001, 5.0], ["0.00", "5.00"]),
        ([math.nan], ["-"]),
        ([math.inf, 1.0], ["inf", "1.00"]),
    ],
)
def test_numbers_keep_about_three_digits(values, texts):
    assert format_numbers(values) == texts


def test_table_has_every_method_with_values_above_intervals():
    summary = summarize(table(synthetic_results()))
    lines = format_summary(summary).splitlines()
    assert len(lines) == 3 + 2 * len(METHODS)
    for (method, worst), values, intervals in zip(summary.methods.worst.items(), lines[3::2], lines[4::2], strict=True):
        assert values.startswith(f"{method} (3)")
        assert f"{worst:,.0f}" in values
        assert intervals.count("..") == len(SHOWN)


def test_single_seeds_show_a_dash_for_each_interval_and_say_why():
    lines = format_summary(summarize(table(synthetic_results(num_seeds=1)))).splitlines()
    assert lines[4].split() == ["-"] * len(SHOWN)
    assert lines[-1] == "No interval (-) with fewer than 3 seeds."


def test_table_fits_the_terminal_with_long_names_and_large_numbers():
    shape = (-123456.0, *METHODS["TRPO"][1:])
    rows = synthetic_results(methods={"a long name " * 20: shape})
    lines = format_summary(summarize(table(rows))).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "…" in lines[3]
