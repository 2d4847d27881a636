"""The choice of the states in which episodes begin."""

import pytest
import torch

from rrl.risk import Restarts

RISK = torch.linspace(0.0, 1.0, 101)


def test_a_band_holds_its_ends_and_weighs_all_states_alike():
    weights = Restarts(band=(0.25, 0.75)).weights(RISK)
    assert torch.equal(weights > 0.0, (RISK >= 0.25) & (RISK <= 0.75))
    assert set(weights.tolist()) == {0.0, 1.0}


def test_states_at_risk_weigh_most_at_even_odds_and_nothing_where_all_is_decided():
    weights = Restarts(choose="at_risk").weights(RISK)
    assert weights.argmax() == 50
    assert weights[0] == weights[-1] == 0.0


def test_the_riskiest_are_a_tenth():
    weights = Restarts(choose="riskiest").weights(RISK)
    assert torch.equal(weights > 0.0, RISK >= 0.9)


def test_uniform_restarts_do_not_look_at_the_risk():
    assert torch.equal(Restarts(choose="uniform", band=(0.4, 0.5)).weights(RISK), torch.ones_like(RISK))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"band": (0.9, 0.1)}, r"`band` must be ascending within \[0, 1\], got \(0.9, 0.1\)."),
        ({"band": (-0.1, 0.5)}, r"`band` must be ascending within \[0, 1\], got \(-0.1, 0.5\)."),
        ({"band": (float("nan"), 0.5)}, r"`band` must be ascending within \[0, 1\], got \(nan, 0.5\)."),
        ({"share": 1.5}, r"`share` must lie in \[0, 1\], got 1.5."),
        ({"choose": "safest"}, "`choose` must be one of"),
        ({"signal": "constant"}, "`signal` must be one of"),
    ],
)
def test_inadmissible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Restarts(**settings)
