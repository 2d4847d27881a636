"""The force follows the failure rate that the risk predicts."""

import pytest

from rrl.risk import ForceControl


def settle(failure_rate_of, *, start: float = 0.5, target: float = 0.3) -> float:
    control = ForceControl(target=target, start=start)
    share = start
    for _ in range(500):
        share = control.update(share, failure_rate_of(share))
    return share


@pytest.mark.parametrize("start", [0.1, 0.5, 1.0])
def test_it_settles_where_the_failure_rate_is_the_target(start: float):
    assert settle(lambda share: share**2, start=start) == pytest.approx(0.3**0.5, abs=1e-3)


def test_it_is_strongest_where_nothing_fails_and_weakest_where_everything_does():
    assert settle(lambda share: 0.0) == 1.0
    assert settle(lambda share: 1.0) == ForceControl().least


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 0.0}, r"`target` must lie in \(0, 1\), got 0.0."),
        ({"gain": 0.0}, r"`gain` must lie in \(0, 10\], got 0.0."),
        ({"start": 1.5}, r"`start` must lie in \(0, 1\], got 1.5."),
        ({"least": 0.0}, r"`least` must lie in \(0, 1\], got 0.0."),
        ({"start": 0.2, "least": 0.4}, "`start` must be at least `least` 0.4, got 0.2."),
    ],
)
def test_inadmissible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ForceControl(**settings)


def test_a_failure_rate_that_is_none_is_named():
    with pytest.raises(ValueError, match=r"`failure_rate` must lie in \[0, 1\], got 1.5."):
        ForceControl().update(0.5, 1.5)
