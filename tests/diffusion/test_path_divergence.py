"""Relative entropy and likelihood ratio of shifted Gaussian steps."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from rrl.diffusion.guidance_rules import select_worst
from rrl.diffusion.path_divergence import kl_budget, log_likelihood_ratio, path_divergence, worst_of_m_divergence

MEAN, SHIFT, NOISE = torch.randn(3, 4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
STD = 0.7


def steps() -> tuple[Independent, Independent]:
    """The shifted and the unshifted step as distributions."""
    return Independent(Normal(MEAN + SHIFT, STD), 2), Independent(Normal(MEAN, STD), 2)


def test_divergence_is_the_relative_entropy_of_two_gaussians():
    torch.testing.assert_close(path_divergence(SHIFT, STD), kl_divergence(*steps()))


def test_ratio_is_the_difference_of_the_log_likelihoods():
    shifted, unshifted = steps()
    outcome = MEAN + SHIFT + STD * NOISE
    expected = shifted.log_prob(outcome) - unshifted.log_prob(outcome)
    torch.testing.assert_close(log_likelihood_ratio(SHIFT, NOISE, STD), expected)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.5, 1.0])
def test_budget_is_the_logarithm_of_the_inverse_tail_level(alpha: float):
    assert kl_budget(alpha) == pytest.approx(-math.log(alpha))


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5])
def test_tail_levels_outside_their_range_raise(alpha: float):
    with pytest.raises(ValueError, match=r"`alpha` must lie in \(0, 1\]"):
        kl_budget(alpha)


@pytest.mark.parametrize("m", [1, 2, 10])
def test_divergence_of_the_worst_of_m_is_the_mean_logarithm_of_its_density_ratio(m: int):
    ranks = torch.rand(4000 * m, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    worst = ranks[select_worst(ranks, m)]
    log_ratio = math.log(m) + (m - 1) * torch.log1p(-worst)
    # -ln(1 - worst) is exponential with rate m.
    assert worst_of_m_divergence(m) == pytest.approx(log_ratio.mean().item(), abs=4 * (m - 1) / m / math.sqrt(4000))
    assert worst_of_m_divergence(m) <= kl_budget(1 / m)
