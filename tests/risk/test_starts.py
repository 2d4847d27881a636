"""Start states: drawn by the variance of their failure, or the worst of them, in any part of the trajectories alike."""

import pytest
import torch

from rrl.risk import Starts
from rrl.risk.starts import mix_starts

RISKS = torch.tensor([0.0, 0.05, 0.2, 0.5, 0.8, 1.0])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_states_at_risk_are_drawn_in_proportion_to_the_variance_of_their_failure():
    draws = 400_000
    picked = Starts().pick(RISKS.expand(draws, -1), 1, generator=generator())
    frequencies = picked.flatten().bincount(minlength=len(RISKS)) / draws
    weights = torch.tensor([0.0, 0.0475, 0.16, 0.25, 0.16, 0.0])
    # Four standard deviations of a frequency are at most 0.0031.
    torch.testing.assert_close(frequencies, weights / weights.sum(), rtol=0.0, atol=0.0031)


def test_second_draws_are_proportional_among_what_is_left():
    draws = 40_000
    picked = Starts().pick(torch.tensor([0.5, 0.5, 0.1]).expand(draws, -1), 2, generator=generator())
    assert (picked[:, 0] != picked[:, 1]).all()
    first = 0.25 / 0.59
    both_likely = 2 * first * first / (1.0 - first)  # in either order
    assert float((picked == 2).any(dim=1).float().mean()) == pytest.approx(1.0 - both_likely, abs=0.01)


def test_the_riskiest_are_the_riskiest_in_their_own_order():
    picked = Starts(choose="riskiest").pick(torch.stack([RISKS, RISKS.flip(0)]), 3, generator=generator())
    assert picked.tolist() == [[3, 4, 5], [0, 1, 2]]


def test_states_of_certain_outcome_are_taken_uniformly_where_there_are_no_others():
    draws = 8_000
    picked = Starts().pick(torch.tensor([0.0, 1.0, 0.5, 0.0]).expand(draws, -1), 2, generator=generator())
    assert (picked == 2).any(dim=1).all()
    frequencies = picked[picked != 2].bincount(minlength=4)[[0, 1, 3]] / draws
    torch.testing.assert_close(frequencies, torch.full((3,), 1 / 3), rtol=0.0, atol=0.016)


def test_the_order_of_the_picked_says_nothing_of_their_risk():
    risk = torch.rand(4000, 16, generator=generator(1))
    for choose in ("at_risk", "riskiest"):
        picked = risk.gather(1, Starts(choose=choose).pick(risk, 4, generator=generator(2)))
        torch.testing.assert_close(picked[:, 0].mean(), picked[:, -1].mean(), rtol=0.0, atol=0.02)


def test_every_part_of_the_trajectories_has_its_share_of_chosen_states():
    mixed = mix_starts(torch.zeros(2, 16, 1), torch.ones(2, 4, 1))
    assert mixed.shape == (2, 16, 1)
    assert mixed.unflatten(1, (4, 4)).sum(dim=2).flatten().tolist() == [1.0] * 8


@pytest.mark.parametrize("count", [0, 1, 5, 7])
def test_every_chosen_state_has_a_place(count):
    chosen = 1.0 + torch.arange(count).view(1, count, 1)
    mixed = mix_starts(torch.zeros(1, 7, 1), chosen).flatten()
    assert mixed[mixed > 0.0].tolist() == chosen.flatten().tolist()


def test_the_share_counts_trajectories_and_uniform_chooses_none():
    assert Starts(share=0.25).count(16) == 4
    assert Starts(share=0.0).count(16) == 0
    assert Starts(share=0.25, choose="uniform").count(16) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choose": "newest"}, "`choose` must be one of .*, got 'newest'"),
        ({"share": 1.5}, r"`share` must lie in \[0, 1\], got 1.5"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Starts(**settings)
