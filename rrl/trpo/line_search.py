"""The backtracking line search that keeps a policy step inside its trust region."""

from __future__ import annotations

from collections.abc import Callable


def backtracking_line_search(
    is_acceptable: Callable[[float], bool], *, backtrack_ratio: float, max_backtracks: int
) -> float:
    """Find the longest acceptable fraction of a step among the powers of a ratio.

    Args:
        is_acceptable: Whether this fraction of the full step may be taken.
        backtrack_ratio: Factor between two tries, in ``(0, 1)``.
        max_backtracks: Tries after which the search gives up, at least 1.

    Returns:
        ``backtrack_ratio**k`` for the smallest acceptable ``k``, or 0 where none is.

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
