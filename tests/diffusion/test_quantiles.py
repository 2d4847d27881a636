"""The tail by construction: the law of the gain, the quantile of what happened, and imagining from a quantile."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from rrl.diffusion import (
    CausalGRU,
    DenoiserSettings,
    FewStep,
    QuantileConditional,
    Reparameterized,
    ResidualSizes,
    RowwiseGRU,
    RowwiseSampler,
    TrajectoryModels,
)
from rrl.diffusion.quantiles import QuantileNetwork, locate, pinball_loss
from rrl.diffusion.sampler import TrajectorySampler
from rrl.types import WindowBatch
from tests.diffusion.oracles import GaussianOracle, imagine, standard_policy, unit_normalizer

ALPHA, HORIZON, UPDATES = 0.25, 4, 300
INNER = torch.arange(1, 10) / 10


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal_cvar(alpha: float) -> float:
    """Of a standard normal: minus its density at the quantile, over the level."""
    quantile = float(torch.special.ndtri(torch.tensor(alpha, dtype=torch.float64)))
    return -math.exp(-0.5 * quantile**2) / math.sqrt(2.0 * math.pi) / alpha


@pytest.mark.parametrize("level", range(1, 10))
def test_the_pinball_loss_is_least_at_the_quantile(level: int):
    targets = torch.linspace(0.0, 1.0, 1001, dtype=torch.float64)
    guesses = torch.linspace(0.0, 1.0, 201, dtype=torch.float64)

    def loss(guess: Tensor) -> float:
        quantiles = INNER.double().clone()
        quantiles[level - 1] = guess
        return float(pinball_loss(quantiles.expand(len(targets), -1), targets))

    assert abs(float(min(guesses, key=loss)) - level / 10) < 0.006


def test_what_happened_is_uniform_among_right_quantiles():
    samples = torch.randn(4000, generator=generator())
    located = locate(torch.special.ndtri(INNER).expand(4000, -1), samples, generator(1))
    assert kstest(located.numpy(), "uniform").pvalue > 0.01


def test_equal_outcomes_are_spread_over_all_brackets_that_they_fill():
    # Half of the gains are 0, a quarter each 1 and -1: seven of ten quantiles coincide with an outcome.
    outcomes = torch.tensor([0.0, 0.0, 1.0, -1.0])[torch.randint(4, (4000,), generator=generator())]
    quantiles = torch.tensor([-1.0] * 2 + [0.0] * 5 + [1.0] * 2).expand(4000, -1)
    located = locate(quantiles, outcomes, generator(1))
    assert ((located >= 0.0) & (located < 1.0)).all()
    assert (located[outcomes == 1.0] > located[outcomes == 0.0].median()).all()
    assert (located[outcomes == -1.0] < located[outcomes == 0.0].median()).all()


def test_quantiles_do_not_cross_and_do_not_see_the_last_action():
    network = QuantileNetwork(3, 2, HORIZON, 10, ResidualSizes(hidden_dim=16, num_layers=1))
    actions, start = torch.randn(5, HORIZON, 2), torch.randn(5, 3)
    quantiles = network(actions, start)
    assert quantiles.shape == (5, 9)
    assert (quantiles.diff(dim=1) >= 0.0).all()
    actions[:, -1] += 1.0
    assert torch.equal(network(actions, start), quantiles)


@pytest.mark.parametrize("alpha", [0.05, 0.25, 1.0])
def test_telling_an_exact_denoiser_a_tail_gives_the_cvar(alpha: float):
    oracle, rule = GaussianOracle(), QuantileConditional(alpha=alpha)
    start = torch.zeros(4000, oracle.obs_dim, dtype=torch.float64)
    quantile = rule.quantiles(4000, guided=True, generator=generator()).double()
    options = {"horizon": oracle.horizon, "quantile": quantile}
    imagined = imagine(oracle.denoise_given_quantile, FewStep(steps=16).build(), start, **options)
    returns = (oracle.returns(imagined) - oracle.mean @ oracle.slope) / oracle.return_std
    # What is told is returned but for the noise of the last step; the bound of the error function binds at 0.01.
    assert abs(float(returns.mean()) - (0.0 if alpha == 1.0 else normal_cvar(alpha))) < 0.06
    assert float((returns - torch.special.ndtri(quantile)).abs().mean()) < 0.05


def walks(count: int, generator: torch.Generator) -> WindowBatch:
    """Windows of a random walk that actions push: each step adds 0.3 times the action and a noise of scale 1."""
    actions = torch.rand(count, HORIZON, 1, generator=generator) * 2.0 - 1.0
    steps = 0.3 * actions[:, :-1] + torch.randn(count, HORIZON - 1, 1, generator=generator)
    observations = torch.cat([torch.zeros(count, 1, 1), steps.cumsum(dim=1)], dim=1)
    rewards = torch.cat([steps[..., 0], torch.zeros(count, 1)], dim=1)
    no, yes = torch.zeros(count, HORIZON).bool(), torch.ones(count, HORIZON).bool()
    return WindowBatch(observations, actions, rewards, no, yes)


@pytest.mark.parametrize(
    ("network", "sampler"),
    [(CausalGRU(width=32), TrajectorySampler), (RowwiseGRU(width=16, hidden_dim=64), RowwiseSampler)],
    ids=["whole", "rowwise"],
)
def test_learnt_models_imagine_the_tail_over_worlds(network: DenoiserSettings, sampler: Any):
    torch.manual_seed(0)
    rule, stream = QuantileConditional(alpha=ALPHA), generator()
    denoiser = network.build(1, 1, HORIZON, told=rule.told)
    judge = rule.build_judge(1, 1, HORIZON, ResidualSizes(hidden_dim=32, num_layers=1))
    models = TrajectoryModels(unit_normalizer(HORIZON, 1), FewStep(steps=16).build(), denoiser, judge, ema_decay=0.98)
    optimizer = torch.optim.Adam(models.trained_parameters(), lr=3e-3)
    for _ in range(UPDATES):
        windows = walks(256, stream)
        models.train_step(windows, windows.rewards.sum(dim=1), optimizer)
    means = {}
    for guided in (True, False):
        imagined = sampler(models.schedule, models.normalizer).sample(
            models.denoiser_average,
            standard_policy,
            torch.zeros(1000, 1),
            policy_guidance=Reparameterized(),
            quantile=rule.quantiles(1000, guided=guided, generator=stream),
            generator=stream,
        )
        pushed = 0.3 * models.normalizer.encode_actions(imagined.actions)[:, :-1, 0].sum(dim=1)
        world = (imagined.observations[:, -1, 0] - pushed) / math.sqrt(HORIZON - 1)
        means[guided] = float(torch.special.ndtr(world).mean())
    # The quantile of what the world did, among all that it could have done with the same actions.
    assert abs(means[True] - ALPHA / 2) < 0.06
    assert abs(means[False] - 0.5) < 0.06


def test_a_tail_that_the_levels_cannot_tell_apart_is_refused():
    with pytest.raises(ValueError, match=r"`alpha` must be at least 1 / `levels` = 0.05, got 0.01"):
        QuantileConditional(alpha=0.01)
