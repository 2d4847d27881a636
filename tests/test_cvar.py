"""Tail statistics against their variational form, closed forms and NumPy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal

from rrl.cvar import empirical_cvar

RETURNS = st.lists(st.floats(-100, 100), min_size=1, max_size=40)
ALPHAS = st.floats(0.01, 1.0)


@given(RETURNS, ALPHAS)
def test_cvar_equals_the_variational_form(returns: list[float], alpha: float):
    sample = torch.tensor(returns, dtype=torch.float64)
    # The maximum over v of v - E[(v - Z)^+] / alpha is attained at one of the samples.
    variational = (sample - (sample.unsqueeze(1) - sample).clamp(min=0.0).mean(dim=1) / alpha).max()
    torch.testing.assert_close(empirical_cvar(sample, alpha), variational)


@given(RETURNS, ALPHAS, ALPHAS)
def test_cvar_does_not_fall_as_alpha_rises(returns: list[float], first: float, second: float):
    sample = torch.tensor(returns, dtype=torch.float64)
    low, high = sorted((first, second))
    assert empirical_cvar(sample, low) <= empirical_cvar(sample, high) + 1e-9


@given(RETURNS)
def test_cvar_at_alpha_1_is_the_mean(returns: list[float]):
    sample = torch.tensor(returns, dtype=torch.float64)
    torch.testing.assert_close(empirical_cvar(sample, 1.0), sample.mean())


def test_cvar_approaches_the_gaussian_closed_form():
    alpha, count = 0.1, 200_000
    sample = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    quantile = Normal(0.0, 1.0).icdf(torch.tensor(alpha))
    expected = -math.exp(-(float(quantile) ** 2) / 2) / math.sqrt(2 * math.pi) / alpha
    assert float(empirical_cvar(sample, alpha)) == pytest.approx(expected, abs=4 * math.sqrt(3.71 / count))


def test_the_gradient_weights_of_cvar_sum_to_one():
    sample = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0], requires_grad=True)
    empirical_cvar(sample, 0.3).backward()
    torch.testing.assert_close(sample.grad, torch.tensor([0.0, 1.0, 0.5, 0.0, 0.0]) / 1.5)


def test_cvar_of_equal_returns_is_that_return():
    assert float(empirical_cvar(torch.full((7,), 2.5), 0.3)) == pytest.approx(2.5)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5])
def test_alpha_outside_its_range_is_refused(alpha: float):
    with pytest.raises(ValueError, match=r"`alpha` must lie in \(0, 1\], got"):
        empirical_cvar(torch.ones(3), alpha)


@pytest.mark.parametrize("returns", [torch.ones(0), torch.ones(2, 2)])
def test_returns_of_the_wrong_shape_are_refused(returns: torch.Tensor):
    with pytest.raises(ValueError, match=r"`returns` must have shape \[N\]"):
        empirical_cvar(returns, 0.5)
