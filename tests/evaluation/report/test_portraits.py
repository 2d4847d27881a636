"""Each method in a sentence for a newcomer."""

from __future__ import annotations

import math

from rrl.evaluation.report.portraits import portray
from rrl.evaluation.report.summary import summarize
from tests.evaluation.synthetic_results import cell_result, synthetic_results, table

ROWS = [
    cell_result(sweep="nominal", cell="nominal", kind="nominal", return_mean=1000.0, return_std=30.0, episodes=10),
    cell_result(sweep="mass", cell="mass 2", return_mean=900.0),
    cell_result(sweep="mass", cell="mass 3", return_mean=700.0),
    cell_result(sweep="delay", cell="delay 2", kind="noise", return_mean=100.0),
]


def sentence_of(rows) -> str:
    (portrait,) = portray(table(rows), summarize(table(rows)))
    return portrait.sentence


def test_a_single_policy_has_an_interval_over_episodes_and_says_where_it_holds_and_what_breaks_it():
    half = 1.96 * 30.0 / math.sqrt(9)
    assert sentence_of(ROWS) == (
        f"It returns 1,000 in the unchanged world ({1000 - half:,.0f} to {1000 + half:,.0f}: 95 % interval over its 10"
        " episodes). "
        "It keeps 80 % of that in 33 % of the perturbed worlds. Its worst world is “delay 2”, where it returns 100. "
        "What costs it most is delay (mean return 100)."
    )


def test_the_worst_of_several_policies_is_not_told_as_what_the_method_does():
    rows = [cell_result(**{**vars(row), "policy": name}) for name in ("a", "b") for row in ROWS]
    assert "The worst of its policies returns 100 in “delay 2”." in sentence_of(rows)


def test_worlds_that_cost_nothing_are_not_called_worse():
    rows = [ROWS[0], cell_result(sweep="mass", cell="mass 2", return_mean=1000.0)]
    assert sentence_of(rows).endswith("in 100 % of the perturbed worlds. It returns no less in any of them.")


def test_without_perturbed_worlds_it_says_no_more_than_the_return():
    assert sentence_of(ROWS[:1]).endswith("95 % interval over its 10 episodes).")


def test_several_seeds_have_no_interval_over_episodes():
    cells = table(synthetic_results(num_seeds=3))
    portraits = portray(cells, summarize(cells))
    assert [portrait.method for portrait in portraits] == summarize(cells).names
    assert all("interval" not in portrait.sentence for portrait in portraits)


def test_a_single_episode_has_no_interval():
    row = cell_result(sweep="nominal", cell="nominal", kind="nominal", return_mean=1000.0, episodes=1)
    assert sentence_of([row]) == "It returns 1,000 in the unchanged world."
