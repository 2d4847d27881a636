"""The backtracking line search: which fraction it takes, and when it gives up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrl.trpo import backtracking_line_search


@given(st.floats(0.2, 1.0))
def test_it_takes_the_longest_acceptable_power_of_the_ratio(limit: float):
    fraction = backtracking_line_search(lambda f: f <= limit, backtrack_ratio=0.5, max_backtracks=10)
    assert fraction <= limit
    assert fraction == 1.0 or 2.0 * fraction > limit


def test_it_gives_up_after_its_tries():
    tried = []
    fraction = backtracking_line_search(lambda f: bool(tried.append(f)), backtrack_ratio=0.5, max_backtracks=3)
    assert fraction == 0.0
    assert tried == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("ratio", [0.0, 1.0, 2.0])
def test_a_ratio_outside_its_range_is_refused(ratio: float):
    with pytest.raises(ValueError, match="`backtrack_ratio` must lie in"):
        backtracking_line_search(lambda f: True, backtrack_ratio=ratio, max_backtracks=3)


def test_no_tries_are_refused():
    with pytest.raises(ValueError, match="`max_backtracks` must be at least 1"):
        backtracking_line_search(lambda f: True, backtrack_ratio=0.5, max_backtracks=0)
