"""The backtracking line search that keeps a policy step inside its trust region."""

from __future__ import annotations

from collections.abc import Callable


def backtracking_line_search(
    is_acceptable: Callable[[float], bool], *, backtrack_ratio: float, max_backtracks: int
) -> float:
    """Find the longest acceptable fraction of a step, ``backtrack_ratio**k``; 0 where no ``k < max_backtracks`` is.

    Example:
        >>> backtracking_line_search(lambda fraction: fraction < 0.3, backtrack_ratio=0.5, max_backtracks=10)
        0.25
        >>> backtracking_line_search(lambda fraction: False, backtrack_ratio=0.5, max_backtracks=10)
        0.0
    """
    for attempt in range(max_backtracks):
        fraction = backtrack_ratio**attempt
        if is_acceptable(fraction):
            return fraction
    return 0.0
