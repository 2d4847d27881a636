"""Imagined actions stay on-policy."""

import pytest
import torch

from rrl.diffusion.causal import CausalGRU
from rrl.diffusion.denoiser import WindowDenoiser, add_noise
from rrl.diffusion.policy_guidance import PolicyGuidance, Reparameterized, Score, standardized
from rrl.diffusion.scheduler import FewStep
from tests.diffusion.oracles import GaussianOracle, imagine


def revise(guidance: PolicyGuidance, actions: torch.Tensor, noise: torch.Tensor, seed: int = 0):
    """One revision towards a policy with mean 1 and standard deviation 0.5, with little noise."""
    policy = torch.ones_like(actions), torch.tensor([0.5])
    generator = torch.Generator().manual_seed(seed)
    return guidance(actions, policy, noise=noise, noise_std=torch.tensor([0.01]), generator=generator)


def test_reparameterized_goes_the_damped_way_to_mean_plus_noise():
    revised = revise(Reparameterized(damping=0.25).build(), torch.zeros(1, 1, 1), noise=torch.full((1, 1, 1), 2.0))
    assert revised.item() == 0.25 * (1.0 + 0.5 * 2.0)


def test_reparameterized_converges_to_the_action_of_its_noise():
    guidance, actions, noise = Reparameterized().build(), torch.zeros(4, 3, 1), torch.randn(4, 3, 1)
    for _ in range(40):
        actions = revise(guidance, actions, noise)
    torch.testing.assert_close(actions, 1.0 + 0.5 * noise)


def test_reparameterized_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    policy = torch.zeros(1, 1, 1), torch.ones(1)
    Reparameterized().build()(
        torch.zeros(1, 1, 1), policy, noise=torch.ones(1, 1, 1), noise_std=torch.ones(1), generator=generator
    )
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("damping", [0.0, 1.5])
def test_damping_outside_its_range_raises(damping: float):
    with pytest.raises(ValueError, match=r"`damping` must lie in \(0, 1\]"):
        Reparameterized(damping=damping)


def test_score_follows_the_gradient_of_the_log_likelihood():
    actions = torch.full((1, 1, 1), 1.7, requires_grad=True)
    torch.distributions.Normal(1.0, 0.5).log_prob(actions).backward()
    fresh = torch.randn(1, 1, 1, generator=torch.Generator().manual_seed(0))
    revised = revise(Score(scale=0.1).build(), actions.detach(), noise=torch.zeros(1, 1, 1))
    torch.testing.assert_close(revised, actions.detach() + 0.1 * actions.grad + 0.01 * fresh)


def test_score_stays_within_three_standard_deviations():
    revised = revise(Score().build(), torch.tensor([[[-50.0], [50.0]]]), noise=torch.zeros(1, 2, 1))
    assert revised.min() >= 1.0 - 3.0 * 0.5
    assert revised.max() <= 1.0 + 3.0 * 0.5


def test_score_pulls_harder_when_actions_spread_too_far():
    guidance = Score(scale=1.0, learning_rate=0.1).build()
    guidance.adapt(torch.tensor(2.0))
    torch.testing.assert_close(guidance.log_scale, torch.tensor(0.1))
    guidance.adapt(torch.tensor(0.0))
    torch.testing.assert_close(guidance.log_scale, torch.tensor(0.0))


def test_spread_is_1_for_actions_of_the_policy():
    mean, std = torch.randn(100, 8, 2), torch.tensor([0.3, 2.0])
    actions = mean + std * torch.randn(100, 8, 2, generator=torch.Generator().manual_seed(0))
    assert standardized(actions, (mean, std)).std().item() == pytest.approx(1.0, abs=0.07)


@pytest.mark.parametrize("guidance", [Reparameterized().build(), Score(learning_rate=0.2).build()], ids=type)
def test_spread_of_imagined_actions_tends_to_1(guidance: PolicyGuidance):
    oracle = GaussianOracle(horizon=4)
    generator, spreads = torch.Generator().manual_seed(0), []
    for _ in range(60):
        start = torch.zeros(256, 2, dtype=torch.float64)
        options = {"policy": lambda states: (0.2 * states[..., :1], torch.tensor(0.4)), "policy_guidance": guidance}
        imagined = imagine(oracle.denoise, FewStep(steps=16).build(), start, seed=generator, **options)
        guidance.adapt(imagined.action_spread)
        spreads.append(imagined.action_spread)
    assert torch.stack(spreads[-20:]).mean().item() == pytest.approx(1.0, abs=0.05)


HORIZON = 5


def leaning_policy(observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A policy that answers the state, so that actions must be revised whenever the imagined states move."""
    return -0.6 * observations, torch.tensor(0.3)


@pytest.fixture(scope="module")
def trained_denoiser() -> WindowDenoiser:
    """A small denoiser that has learnt s' = s + a / 2 + noise from windows under ``leaning_policy``."""
    torch.manual_seed(0)
    denoiser, generator = CausalGRU(width=16).build(1, 1, HORIZON), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.01)
    for _ in range(150):
        states, actions = [torch.randn(128, 1, generator=generator)], []
        for _ in range(HORIZON):
            mean, std = leaning_policy(states[-1])
            actions.append((mean + std * torch.randn(128, 1, generator=generator)).clamp(-1.0, 1.0))
            states.append(states[-1] + 0.5 * actions[-1] + 0.1 * torch.randn(128, 1, generator=generator))
        rows, start = torch.stack(states[:-1], dim=1), states[0]
        # Differences from the start; no reward, and the episode never ends.
        x0 = torch.cat([rows - start[:, None], torch.zeros_like(rows), -torch.ones_like(rows)], dim=-1)
        sigma = FewStep(steps=16).build().sample_sigmas(128, generator)
        noisy = add_noise(x0, sigma, torch.randn(x0.shape, generator=generator), obs_dim=1)
        loss = denoiser.training_loss(
            noisy, torch.stack(actions, dim=1), start, sigma, x0=x0, weights=torch.ones_like(x0)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return denoiser


@pytest.mark.parametrize(
    ("guidance", "rounds", "tolerance"),
    # The standard error of a standard deviation of 128 * 5 actions in each of 20 rounds is 0.0063. The controller of
    # the score's scale has a memory, so that its rounds are not independent.
    [(Reparameterized().build(), 20, 4 * 0.0063), (Score(learning_rate=0.2).build(), 40, 0.05)],
    ids=["reparameterized", "score"],
)
def test_actions_imagined_with_a_trained_denoiser_are_on_policy(
    trained_denoiser: WindowDenoiser, guidance: PolicyGuidance, rounds: int, tolerance: float
):
    generator, spreads = torch.Generator().manual_seed(0), []
    for _ in range(rounds):
        start = torch.randn(128, 1, generator=generator)
        options = {"policy": leaning_policy, "policy_guidance": guidance, "horizon": HORIZON}
        imagined = imagine(trained_denoiser, FewStep(steps=16).build(), start, seed=generator, **options)
        guidance.adapt(imagined.action_spread)
        spreads.append(imagined.action_spread)
    assert torch.stack(spreads[-20:]).mean().item() == pytest.approx(1.0, abs=tolerance)
    # An untrained denoiser, whose states do not move at all, would pass the above; it misses this by a factor of three.
    moved = imagined.observations.diff(dim=1) - 0.5 * imagined.actions[:, :-1].clamp(-1.0, 1.0)
    assert moved.std() < 0.1
