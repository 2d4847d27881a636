"""The backtracking line search: which fraction it takes, and when it gives up."""

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
