"""The paper's rule on single transitions: the least favourable noise within a budget, as strong as models err."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rrl.algorithms.world_model import WorldModel
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.diffusion import FewStep, RowwiseGRU, RowwiseSampler, TemporalUNet, TransitionGradient
from rrl.diffusion.error_spread import MAX_SPREAD, ErrorSpread
from rrl.diffusion.guidance import transition_shift
from rrl.diffusion.rowwise import RowwiseDenoiser
from rrl.policies import ActorCritic
from rrl.spaces import Spaces
from tests.diffusion.oracles import unit_normalizer
from tests.diffusion.test_quantiles import HORIZON, generator, walks

ALPHA, UPDATES, GAMMA = 0.25, 400, 0.9
SIZES = RowwiseGRU(width=16, hidden_dim=64)


class LinearTransition:
    """Next observations and rewards that are linear in the noise of the first step, with a linear value."""

    def __init__(self, seed: int, dims: int = 3, batch: int = 4) -> None:
        stream = generator(seed)
        self.noise = torch.randn(batch, 2, dims, generator=stream, dtype=torch.float64)
        self.weights = torch.randn(batch, dims, dims, generator=stream, dtype=torch.float64)
        self.slope = torch.randn(dims, generator=stream, dtype=torch.float64)

    def imagine(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        following = (self.weights @ noise[:, 0, :, None])[..., 0]
        return following, 2.0 * noise[:, 0, 0], noise[:, 0, 1]

    def value(self, observations: Tensor) -> Tensor:
        return observations @ self.slope

    def worth(self, noise: Tensor) -> Tensor:
        following, rewards, _ = self.imagine(noise)
        return rewards + GAMMA * self.value(following)

    def shift(self, *, budget: float, spread: float = 1.0) -> Tensor:
        options = {"gamma": GAMMA, "budget": budget, "spread": torch.tensor(spread, dtype=torch.float64)}
        return transition_shift(self.noise, self.imagine, self.value, **options)


@given(seed=st.integers(0, 2**31), budget=st.floats(1e-3, 10.0), spread=st.floats(0.1, 10.0))
def test_no_other_noise_within_the_budget_is_worse(seed: int, budget: float, spread: float):
    transition = LinearTransition(seed)
    shift = transition.shift(budget=budget, spread=spread)
    # Noise of this deviation, shifted so: the relative entropy of both Gaussians in nats.
    divergence = 0.5 * (shift / spread).square().sum(dim=(1, 2))
    torch.testing.assert_close(divergence, torch.full_like(divergence, budget))
    worst = transition.worth(transition.noise + shift)
    for other in torch.randn(50, *shift.shape, generator=generator(seed), dtype=torch.float64):
        scaled = other * spread * math.sqrt(2.0 * budget) / other.square().sum(dim=(1, 2), keepdim=True).sqrt()
        assert (worst <= transition.worth(transition.noise + scaled) + 1e-9).all()


@given(seed=st.integers(0, 2**31), budget=st.floats(1e-3, 10.0))
def test_the_worth_falls_by_its_own_deviations(seed: int, budget: float):
    transition = LinearTransition(seed)
    fall = transition.worth(transition.noise + transition.shift(budget=budget)) - transition.worth(transition.noise)
    draws = torch.eye(6, dtype=torch.float64).view(6, 1, 2, 3).expand(-1, 4, -1, -1)
    variance = torch.stack([transition.worth(draw) for draw in draws]).square().sum(dim=0)
    torch.testing.assert_close(fall, -(2.0 * budget * variance).sqrt())


def test_what_cannot_be_influenced_is_not_shifted():
    transition = LinearTransition(0)
    transition.imagine = lambda noise: (0.0 * noise[:, 0], 0.0 * noise[:, 0, 0], noise[:, 0, 1])
    assert (transition.shift(budget=1.0) == 0.0).all()


def test_no_budget_is_no_shift():
    assert (LinearTransition(0).shift(budget=0.0) == 0.0).all()


@dataclass(frozen=True)
class Scaled(RowwiseSampler):
    """Imagines rewards with a deviation of its own, and no change of the state."""

    deviation: float

    def imagine_row(
        self, denoiser: RowwiseDenoiser, known: Tensor, observations: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return observations, self.deviation * noise[:, 0, 1], -torch.ones(len(noise))


def judged_spread(deviation: float) -> float:
    """Judge imagined rewards where real ones have a deviation of 1; only the first two transitions are real."""
    sampler = Scaled(FewStep(steps=2).build(), unit_normalizer(HORIZON, 1), deviation)
    denoiser, spread, stream = RowwiseDenoiser(1, 1, SIZES, told=0), ErrorSpread(), generator()
    for _ in range(60):
        windows = walks(256, stream)
        windows.rewards[:] = torch.randn(windows.rewards.shape, generator=stream)
        windows.valid[:, 2:] = False
        windows.rewards[:, 2:] = 99.0  # what is padded must not count
        spread.judge(windows, denoiser, sampler, lambda observations: observations[:, 0] * 0.0, gamma=GAMMA)
    return float(spread.value)


@pytest.mark.parametrize("deviation", [0.25, 0.5, 1.0, 2.0])
def test_the_spread_is_that_of_the_errors_in_imagined_deviations(deviation: float):
    assert judged_spread(deviation) == pytest.approx(1.0 / deviation, rel=0.05)


def test_a_model_that_takes_nothing_for_possible_has_the_largest_spread():
    assert judged_spread(0.0) == pytest.approx(MAX_SPREAD, rel=0.01)


def test_a_learnt_model_imagines_the_worst_mean_within_the_budget():
    torch.manual_seed(0)
    spaces = Spaces(obs_dim=1, action_dim=1, action_low=[-1.0], action_high=[1.0], horizon=HORIZON)
    guidance = TransitionGradient(alpha=ALPHA)
    settings = WorldModelSettings(denoiser=SIZES, guidance=guidance, solver=FewStep(steps=16), bootstrap=False)
    model, player, stream = WorldModel(spaces, settings, gamma=1.0), ActorCritic(1, 1), generator()
    optimizer = torch.optim.Adam(model.models.trained_parameters(), lr=3e-3)
    for _ in range(UPDATES):
        model.fit([walks(256, stream)], player, optimizer)
    for _ in range(20):
        found = model.evaluate(walks(256, stream), player)
    assert found["diffusion/error_spread"] == pytest.approx(1.0, abs=0.25)
    worlds = {}
    for guided in (True, False):
        imagined = model.imagine(torch.zeros(2000, 1), player, guided=guided, generator=stream)
        pushed = 0.3 * imagined.actions[:, :-1, 0].clamp(-1.0, 1.0).sum(dim=1)
        worlds[guided] = (imagined.returns - pushed) / math.sqrt(HORIZON - 1)
        assert imagined.path_kl.unique().item() == pytest.approx(math.log(1.0 / ALPHA) if guided else 0.0)
    # What the world did is standard normal. The worst mean at a divergence of ln(1/alpha) is -sqrt(2 ln(1/alpha)).
    worst = -float(found["diffusion/error_spread"]) * math.sqrt(2.0 * math.log(1.0 / ALPHA))
    assert float(worlds[True].mean()) == pytest.approx(worst, abs=0.15)
    assert abs(float(worlds[False].mean())) < 0.1
    assert abs(float(worlds[True].std()) - 1.0) < 0.15


def test_denoisers_of_whole_trajectories_are_refused():
    with pytest.raises(ValueError, match="TransitionGradient shifts single transitions, which `denoiser` TemporalUNet"):
        WorldModelSettings(denoiser=TemporalUNet(), guidance=TransitionGradient())
