"""The numbers of a policy follow from its cells."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl.evaluation.report.summary import MEASURES, held_fraction, missing_cells, summarize, tabulate
from tests.evaluation.synthetic_results import cell_result, synthetic_results, table


def cells_of(returns, **columns):
    return [cell_result(cell=f"mass={k}", return_mean=value, **columns) for k, value in enumerate(returns)]


def test_numbers_of_a_hand_made_policy():
    rows = [
        cell_result(cell="nominal", kind="nominal", sweep="nominal", return_mean=100.0, forward_distance=8.0),
        *cells_of([10.0, 30.0, *[90.0] * 18], failure_rate=0.25, forward_distance=2.0),
        cell_result(cell="random 5 N", kind="attack", return_mean=70.0),
        cell_result(cell="strongest 5 N", kind="attack", return_mean=5.0),
        cell_result(cell="own 5 N", kind="attack", sweep="own", return_mean=1.0),
    ]
    summary = summarize(table(rows))
    (policy,) = summary.policies.to_dict("records")
    assert policy == {
        "nominal": 100.0,
        "mean": 83.0,
        "worst": 10.0,
        "cvar10": 20.0,
        "area80": 90.0,
        "distance": 8.0,
        "perturbed_distance": 2.0,
        "failures": 25.0,
        "attack": 5.0,
        "worst_cell": "mass=0",
        "strongest_attack": "strongest 5 N",
    }
    assert summary.sweeps.to_dict("records") == [{"mass": 83.0}]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_worst_is_at_most_cvar_is_at_most_mean(returns):
    policy = summarize(table(cells_of(returns))).policies.iloc[0]
    slack = 1e-9 * (1.0 + max(map(abs, returns)))
    assert policy.worst <= policy.cvar10 + slack
    assert policy.cvar10 <= policy["mean"] + slack
    assert policy.worst == min(returns)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(-1e6, 1e6))
def test_held_fraction_is_a_share_and_whole_at_the_nominal_return(returns, nominal):
    assert 0.0 <= held_fraction(np.array(returns), nominal) <= 1.0
    assert held_fraction(np.full(3, nominal), nominal) == 1.0


def test_negative_nominal_return_may_be_lost_by_a_fifth_too():
    assert held_fraction(np.array([-119.0, -121.0]), nominal=-100.0) == 0.5


def test_what_was_not_evaluated_is_not_a_number():
    summary = summarize(table([cell_result(kind="nominal", cell="nominal", forward_distance=math.nan)]))
    assert summary.known == ["nominal"]
    assert summary.policies.worst_cell.tolist() == [""]
    assert math.isnan(summary.estimates("iqm")[0].value)


def test_methods_average_their_seeds_in_order_of_appearance():
    summary = summarize(table(synthetic_results(num_seeds=4)))
    assert summary.names == ["TRPO", "Domain randomisation", "RARL", "RC-RARL", "AD-RRL"]
    assert summary.methods.seeds.tolist() == [4] * 5
    for measure in MEASURES:
        estimate = summary.estimates(measure)[0]
        mean = np.mean(summary.policies[measure][:4])
        np.testing.assert_array_equal(summary.scores("TRPO", measure), summary.policies[measure][:4])
        assert estimate.value == pytest.approx(mean)
        assert estimate.low <= mean <= estimate.high


def test_interquartile_mean_pools_seeds_and_sweeps():
    rows = [
        cell_result(policy=f"p{seed}", train_seed=seed, sweep=sweep, cell=sweep, return_mean=value)
        for seed, values in enumerate([(0.0, 100.0), (2.0, 4.0)])
        for sweep, value in zip(("mass", "friction"), values, strict=True)
    ]
    assert summarize(table(rows)).methods.iqm.tolist() == [3.0]


def test_missing_cells_are_counted():
    rows = synthetic_results(num_seeds=2)
    assert missing_cells(table(rows)) == 0
    assert missing_cells(table(rows[:-3])) == 3
    assert missing_cells(table([*rows, replace(rows[0], kind="attack", sweep="own", cell="own 5 N")])) == 0


def test_policies_are_lines_and_cells_are_columns_whatever_the_order_of_the_rows():
    rows = [
        cell_result(policy="p1", cell="b", return_mean=1.0),
        cell_result(policy="p0", cell="a", return_mean=4.0),
        cell_result(policy="p0", cell="b", return_mean=3.0),
        cell_result(policy="p1", cell="a", return_mean=2.0),
        cell_result(method="RARL", policy="a2", cell="a", return_mean=6.0),
    ]
    cells, returns = tabulate(table(rows))
    assert cells.cell.tolist() == ["b", "a"]
    assert list(returns) == ["TRPO", "RARL"]
    np.testing.assert_array_equal(returns["TRPO"], [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(returns["RARL"], [[math.nan, 6.0]])
