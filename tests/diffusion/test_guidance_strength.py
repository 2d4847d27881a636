"""The controllers of the guidance strength reach their targets and never break."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from rrl.cvar import empirical_cvar
from rrl.diffusion.guidance_rules import NoiseConditional, select_worst
from rrl.diffusion.guidance_strength import (
    LOG_BOUND,
    GuidanceStrength,
    kl_budget,
    log_likelihood_ratio,
    path_divergence,
    worst_of_m_divergence,
)
from rrl.diffusion.scheduler import DDPM, FewStep, NoiseSchedule
from tests.diffusion.oracles import GaussianOracle, noise_conditional


@pytest.mark.parametrize("initial", [0.01, 1.0, 100.0])
def test_the_realised_divergence_tends_to_the_budget(initial: float):
    oracle, schedule = GaussianOracle(), FewStep().build()
    strength = GuidanceStrength(initial, gain=0.5)
    for _ in range(40):
        guidance = noise_conditional(oracle.expected_return, strength)
        path_kl = oracle.sample(schedule, 4, guidance).path_kl.mean()
        strength.update_to_kl(path_kl, 0.1)
    assert path_kl.item() == pytest.approx(math.log(10.0), rel=1e-3)


def gaussian_returns() -> torch.Tensor:
    return torch.randn(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def bimodal_returns() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    modes = 2.0 * (torch.rand(20_000, generator=generator) < 0.5).double() - 1.0
    return modes + 0.5 * torch.randn(20_000, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("returns", [gaussian_returns(), bimodal_returns()], ids=["gaussian", "bimodal"])
def test_the_guided_mean_tends_to_the_cvar(returns: torch.Tensor):
    strength = GuidanceStrength(initial=0.3)
    cvar = empirical_cvar(returns, 0.1)
    for _ in range(300):
        # The mean of the exact tilt exp(-strength Z), by reweighting.
        guided_mean = torch.softmax(-strength.value * returns, dim=0) @ returns
        strength.update_to_cvar(guided_mean, cvar, returns.std(), 0.1)
    assert guided_mean.item() == pytest.approx(cvar.item(), abs=0.01)


@pytest.mark.parametrize(
    ("schedule", "alpha"),
    [(DDPM(length=16).build(), 0.1), (FewStep().build(), 0.1), (FewStep().build(), 0.5)],
    ids=["ddpm-0.1", "few_step-0.1", "few_step-0.5"],
)
def test_the_mean_of_guided_trajectories_tends_to_the_cvar(schedule: NoiseSchedule, alpha: float):
    oracle, strength, num_nominal, num_guided = GaussianOracle(), GuidanceStrength(initial=0.05), 8192, 512
    nominal = oracle.returns(oracle.sample(schedule, num_nominal))
    cvar = empirical_cvar(nominal, alpha)
    for _ in range(25):
        guidance = noise_conditional(oracle.expected_return, strength)
        guided_mean = oracle.returns(oracle.sample(schedule, num_guided, guidance, seed=1)).mean()
        strength.update_to_cvar(guided_mean, cvar, nominal.std(), alpha)
    assert guided_mean.item() == pytest.approx(cvar.item(), abs=1e-3 * oracle.return_std)

    # The same without sampling: the law of the chain at the strength that was found, and the CVaR of a Gaussian.
    (mean, covariance), (tilted_mean, _) = (oracle.chain_law(schedule, c) for c in (0.0, strength.value.item()))
    spread = (oracle.slope @ covariance @ oracle.slope).sqrt().item()
    quantile = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(alpha)).item()
    fall = math.exp(-0.5 * quantile**2) / math.sqrt(2 * math.pi) / alpha
    tail_variance = 1.0 - quantile * fall - fall**2 + (1.0 - alpha) * (fall + quantile) ** 2
    standard_error = spread * math.sqrt(tail_variance / alpha / num_nominal + 1.0 / num_guided)
    expected = (oracle.slope @ mean).item() - fall * spread
    assert (oracle.slope @ tilted_mean).item() == pytest.approx(expected, abs=4 * standard_error)


@pytest.mark.parametrize("target", ["kl", "cvar"])
def test_smaller_tail_levels_lower_the_return_further_whatever_the_target(target: str):
    oracle, schedule = GaussianOracle(), FewStep().build()
    nominal = oracle.returns(oracle.sample(schedule, 4096))

    def adapted_mean(alpha: float) -> torch.Tensor:
        strength = GuidanceStrength()
        for _ in range(15):
            # With equal noise in all samples the means differ by what the guidance does alone.
            guided = oracle.sample(schedule, 64, NoiseConditional(alpha=alpha).shift(oracle.expected_return, strength))
            if target == "kl":
                strength.update_to_kl(guided.path_kl.mean(), alpha)
            else:
                strength.update_to_cvar(
                    oracle.returns(guided).mean(), empirical_cvar(nominal, alpha), nominal.std(), alpha
                )
        return oracle.returns(guided).mean()

    means = torch.stack([adapted_mean(alpha) for alpha in (1.0, 0.5, 0.2, 0.05)])
    assert means[0] == oracle.returns(oracle.sample(schedule, 64)).mean()
    assert (means.diff() < -0.3 * oracle.return_std).all()


def test_gaussian_returns_need_the_strength_of_the_closed_form():
    strength = GuidanceStrength()
    density = math.exp(-0.5 * 1.2815515655**2) / math.sqrt(2 * math.pi)
    for _ in range(300):
        strength.update_to_cvar(-strength.value, torch.tensor(-density / 0.1), torch.tensor(1.0), 0.1)
    assert strength.value.item() == pytest.approx(1.7550, abs=1e-3)


@pytest.mark.parametrize("path_kl", [0.0, math.inf, math.nan, 1e30])
def test_odd_divergences_leave_a_finite_strength(path_kl: float):
    strength = GuidanceStrength()
    for _ in range(500):
        strength.update_to_kl(torch.tensor(path_kl), 0.1)
    assert torch.isfinite(strength.value)
    assert strength.log_strength.abs() <= LOG_BOUND


@pytest.mark.parametrize("spread", [0.0, math.nan, math.inf])
def test_odd_returns_leave_a_finite_strength(spread: float):
    strength = GuidanceStrength()
    for _ in range(50):
        strength.update_to_cvar(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(spread), 0.1)
    assert torch.isfinite(strength.log_strength)


def test_alpha_1_lowers_the_strength():
    strength = GuidanceStrength()
    strength.update_to_kl(torch.tensor(1.0), 1.0)
    assert strength.value < 1.0


def test_the_strength_survives_a_checkpoint():
    strength, restored = GuidanceStrength(2.5), GuidanceStrength()
    restored.load_state_dict(strength.state_dict())
    assert restored.value == strength.value


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"`initial` must be positive, got 0\.0"):
        GuidanceStrength(initial=0.0)
    with pytest.raises(ValueError, match=r"`gain` must lie in \(0, 1\], got 2.0"):
        GuidanceStrength(gain=2.0)


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
