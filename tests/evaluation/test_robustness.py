"""The numbers of a policy follow from its cells."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrl.evaluation.measures import MEASURES
from rrl.evaluation.robustness import held_fraction, missing_cells, summarize_methods, summarize_policies
from tests.evaluation.synthetic_results import cell_result, synthetic_results


def grid_of(returns, **columns):
    return [cell_result(cell=f"mass={k}", return_mean=value, **columns) for k, value in enumerate(returns)]


def test_numbers_of_a_hand_made_policy():
    rows = [
        cell_result(cell="nominal", kind="nominal", sweep="nominal", return_mean=100.0, forward_distance=8.0),
        *grid_of([10.0, 30.0, *[90.0] * 18], failure_rate=0.25, forward_distance=2.0),
        cell_result(cell="random 5 N", kind="attack", return_mean=70.0),
        cell_result(cell="strongest 5 N", kind="attack", return_mean=5.0),
        cell_result(cell="own 5 N", kind="attack", sweep="own", return_mean=1.0),
    ]
    (policy,) = summarize_policies(rows)
    assert policy.values == {
        "nominal": 100.0,
        "mean": 83.0,
        "worst": 10.0,
        "cvar10": 20.0,
        "area80": 90.0,
        "distance": 8.0,
        "perturbed_distance": 2.0,
        "failures": 25.0,
        "attack": 5.0,
    }
    assert (policy.worst_cell, policy.strongest_attack) == ("mass=0", "strongest 5 N")
    assert policy.sweep_means == {"mass": 83.0}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_worst_is_at_most_cvar_is_at_most_mean(returns):
    (policy,) = summarize_policies(grid_of(returns))
    slack = 1e-9 * (1.0 + max(map(abs, returns)))
    assert policy.values["worst"] <= policy.values["cvar10"] + slack
    assert policy.values["cvar10"] <= policy.values["mean"] + slack
    assert policy.values["worst"] == min(returns)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(-1e6, 1e6))
def test_held_fraction_is_a_share_and_whole_at_the_nominal_return(returns, nominal):
    assert 0.0 <= held_fraction(np.array(returns), nominal) <= 1.0
    assert held_fraction(np.full(3, nominal), nominal) == 1.0


def test_negative_nominal_return_may_be_lost_by_a_fifth_too():
    assert held_fraction(np.array([-119.0, -121.0]), nominal=-100.0) == 0.5


def test_what_was_not_evaluated_is_not_a_number():
    (policy,) = summarize_policies([cell_result(kind="nominal", cell="nominal", forward_distance=math.nan)])
    assert {name for name, value in policy.values.items() if not math.isnan(value)} == {"nominal"}
    (method,) = summarize_methods([policy])
    assert math.isnan(method.iqm.value)


def test_methods_average_their_seeds_in_order_of_appearance():
    policies = summarize_policies(synthetic_results(num_seeds=4))
    methods = summarize_methods(policies)
    assert [method.method for method in methods] == ["TRPO", "Domain randomisation", "RARL", "RC-RARL", "AD-RRL"]
    trpo = methods[0]
    assert trpo.num_seeds == 4
    for measure in MEASURES:
        values = [policy.values[measure] for policy in policies[:4]]
        assert trpo.estimates[measure].value == pytest.approx(np.mean(values))
        assert trpo.estimates[measure].low <= np.mean(values) <= trpo.estimates[measure].high


def test_interquartile_mean_pools_seeds_and_sweeps():
    rows = [
        cell_result(policy=f"p{seed}", train_seed=seed, sweep=sweep, cell=sweep, return_mean=value)
        for seed, values in enumerate([(0.0, 100.0), (2.0, 4.0)])
        for sweep, value in zip(("mass", "friction"), values, strict=True)
    ]
    (method,) = summarize_methods(summarize_policies(rows))
    assert method.iqm.value == 3.0


def test_missing_cells_are_counted():
    rows = synthetic_results(num_seeds=2)
    assert missing_cells(rows) == 0
    assert missing_cells(rows[:-3]) == 3
    assert missing_cells([*rows, replace(rows[0], kind="attack", sweep="own", cell="own 5 N")]) == 0


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="`rows` must hold at least one result"):
        summarize_policies([])
