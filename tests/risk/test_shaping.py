"""Shaping by the risk sums up to a constant of the first state, so that it changes no solution."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rrl.risk import Shaping, potential_shaping

RISKS = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=30)


@given(RISKS, st.floats(0.5, 1.0), st.booleans())
def test_it_telescopes_over_an_episode(risks: list[float], gamma: float, fails: bool):
    risk = torch.tensor(risks, dtype=torch.float64)
    terminated = torch.zeros(len(risk) - 1, dtype=torch.bool)
    terminated[-1] = fails
    bonus = potential_shaping(risk[:-1], risk[1:], terminated, gamma=gamma)
    discounts = gamma ** torch.arange(len(bonus), dtype=torch.float64)
    left = 0.0 if fails else gamma ** len(bonus) * risk[-1]
    torch.testing.assert_close((discounts * bonus).sum(), left - risk[0], rtol=0.0, atol=1e-9)


def test_a_time_limit_keeps_the_potential_of_what_would_follow():
    risk, after, never = torch.tensor([0.1]), torch.tensor([0.7]), torch.tensor([False])
    assert potential_shaping(risk, after, never, gamma=1.0).item() == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 0.0}, "`weight` must be positive, got 0.0."),
        ({"signal": "constant"}, "`signal` must be one of"),
    ],
)
def test_inadmissible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Shaping(**settings)
