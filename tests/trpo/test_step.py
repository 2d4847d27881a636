"""The TRPO step: its curvature, its trust region, and what it leaves alone."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import kl_divergence

from rrl.policies import GaussianPolicy
from rrl.trpo import TrustRegion, TrustRegionStep, backtracking_line_search, surrogate_objective, trpo_step


def take_step(policy, observations, actions, advantages, weights, *, max_kl, cg_damping=0.1, **more) -> TrustRegionStep:
    """Step with a bound and a damping of the whole divergence, and a Fisher matrix of all samples."""
    size = actions.shape[-1]
    region = TrustRegion(**{"fisher_fraction": 1.0, **more}, max_kl=max_kl / size, cg_damping=cg_damping / size)
    return trpo_step(policy, observations, actions, advantages, weights, region)


@pytest.fixture
def policy() -> GaussianPolicy:
    torch.manual_seed(0)
    return GaussianPolicy(3, 2, hidden_sizes=(5,), initial_log_std=-0.3).double()


def samples(policy: GaussianPolicy, count: int = 200) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    observations = torch.randn(count, 3, dtype=torch.float64)
    actions = policy(observations).sample()
    # Actions to the right of the mean are good: a signal that the step can follow.
    advantages = (actions - policy.mean(observations).detach())[:, 0]
    return observations, actions, advantages


def flat(policy: GaussianPolicy) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1).clone() for parameter in policy.parameters()])


@pytest.mark.parametrize("max_kl", [1e-4, 0.01, 0.1])
def test_the_divergence_after_a_step_respects_its_bound_and_the_surrogate_rises(policy: GaussianPolicy, max_kl: float):
    observations, actions, advantages = samples(policy)
    old = policy(observations)
    old_log_probs = old.log_prob(actions).detach()
    step = take_step(policy, observations, actions, advantages, torch.ones(200).double(), max_kl=max_kl)
    with torch.no_grad():
        new = policy(observations)
        divergence = float(kl_divergence(old, new).mean())
        shares = torch.full((200,), 1 / 200).double()
        rise = surrogate_objective(new.log_prob(actions) - old_log_probs, advantages, shares)
    assert divergence <= max_kl
    assert step.kl_divergence == pytest.approx(divergence)
    assert step.surrogate == pytest.approx(float(rise - advantages.mean()))
    assert step.surrogate > 0.0


def test_the_divergence_comes_close_to_its_bound(policy: GaussianPolicy):
    observations, actions, advantages = samples(policy)
    step = take_step(policy, observations, actions, advantages, torch.ones(200).double(), max_kl=0.001, cg_damping=1e-6)
    assert 0.5 * 0.001 < step.kl_divergence <= 0.001


def test_a_failed_line_search_restores_every_parameter_bit_for_bit(
    policy: GaussianPolicy, monkeypatch: pytest.MonkeyPatch
):
    observations, actions, advantages = samples(policy)
    before = flat(policy)
    monkeypatch.setattr("rrl.trpo.step.surrogate_objective", lambda *inputs: -1e9 + surrogate_objective(*inputs))
    step = take_step(policy, observations, actions, advantages, torch.ones(200).double(), max_kl=0.01)
    assert step == (0.0, 0.0, 0.0)
    assert torch.equal(flat(policy), before)


def test_zero_advantages_move_nothing(policy: GaussianPolicy):
    observations, actions, _ = samples(policy)
    before = flat(policy)
    step = take_step(policy, observations, actions, torch.zeros(200).double(), torch.ones(200).double(), max_kl=0.01)
    assert step.step_fraction == 0.0
    assert torch.equal(flat(policy), before)


def test_without_advantages_the_entropy_bonus_widens_the_policy_by_the_length_of_the_trust_region(
    policy: GaussianPolicy,
):
    observations, actions, _ = samples(policy)
    mean, log_std = policy.mean(observations).detach(), policy.log_std.detach().clone()
    nothing, weights = torch.zeros(200).double(), torch.ones(200).double()
    step = take_step(policy, observations, actions, nothing, weights, max_kl=0.01, cg_damping=0.5, entropy_weight=0.03)
    # The gradient is the weight in each of the two logarithms, their curvature 2, to which the damping adds.
    widening = (2.0 * 0.01 / (2 * (2.0 + 0.5))) ** 0.5
    torch.testing.assert_close(policy.log_std.detach(), log_std + widening)
    torch.testing.assert_close(policy.mean(observations).detach(), mean)
    assert step.surrogate == pytest.approx(0.03 * 2 * widening)
    assert step.step_fraction == 1.0


def test_samples_of_weight_zero_have_no_influence(policy: GaussianPolicy):
    observations, actions, advantages = samples(policy)
    initial = {name: value.clone() for name, value in policy.state_dict().items()}
    weights = torch.ones(200).double()
    weights[100:] = 0.0
    advantages[100:] = 1e3
    take_step(policy, observations, actions, advantages, weights, max_kl=0.01)
    masked = flat(policy)
    policy.load_state_dict(initial)
    take_step(policy, observations[:100], actions[:100], advantages[:100], weights[:100], max_kl=0.01)
    torch.testing.assert_close(masked, flat(policy))


def test_a_fisher_matrix_of_few_samples_keeps_the_bound_on_all_of_them(policy: GaussianPolicy):
    observations, actions, advantages = samples(policy)
    weights = torch.ones(200).double()
    step = take_step(policy, observations, actions, advantages, weights, max_kl=0.01, fisher_fraction=0.1)
    assert 0.0 < step.kl_divergence <= 0.01
    assert step.surrogate > 0.0


def test_repeated_steps_solve_a_bandit():
    torch.manual_seed(0)
    policy = GaussianPolicy(1, 1, hidden_sizes=(8,))
    observations = torch.zeros(256, 1)
    for _ in range(60):
        actions = policy(observations).sample()
        advantages = -(actions - 2.0).square().squeeze(1)
        advantages = (advantages - advantages.mean()) / advantages.std()
        take_step(policy, observations, actions, advantages, torch.ones(256), max_kl=0.02)
    assert float(policy.mean(observations[:1]).detach()) == pytest.approx(2.0, abs=0.2)


def test_bad_arguments_are_refused(policy: GaussianPolicy):
    observations, actions, advantages = samples(policy)
    with pytest.raises(ValueError, match="positive weight"):
        take_step(policy, observations, actions, advantages, torch.zeros(200).double(), max_kl=0.01)
    with pytest.raises(FloatingPointError, match="gradient is not finite"):
        take_step(policy, observations, actions, advantages * torch.nan, torch.ones(200).double(), max_kl=0.01)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_bound_and_damping_are_per_action_dimension(size: int):
    torch.manual_seed(0)
    policy = GaussianPolicy(3, size, hidden_sizes=(5,)).double()
    observations = torch.randn(200, 3, dtype=torch.float64)
    actions, nothing, weights = policy(observations).sample(), torch.zeros(200).double(), torch.ones(200).double()
    region = TrustRegion(max_kl=0.01, cg_damping=0.5, entropy_weight=0.03)
    trpo_step(policy, observations, actions, nothing, weights, region)
    # Each dimension has one logarithm of a standard deviation, of curvature 2, and a share of the bound.
    widening = (2.0 * 0.01 * size / (size * (2.0 + 0.5 * size))) ** 0.5
    torch.testing.assert_close(policy.log_std.detach(), torch.full((size,), widening).double())


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("max_kl", 0.0, "`max_kl` must be positive, got 0"),
        ("max_kl", float("nan"), "`max_kl` must be positive, got nan"),
        ("final_max_kl", 0.0, "`final_max_kl` must be positive, got 0"),
        ("cg_iterations", 0, "`cg_iterations` must be at least 1, got 0"),
        ("cg_damping", float("inf"), "`cg_damping` must be at least 0 and finite, got inf"),
        ("backtrack_ratio", 0.0, "`backtrack_ratio` must lie in"),
        ("backtrack_ratio", 1.0, "`backtrack_ratio` must lie in"),
        ("max_backtracks", 0, "`max_backtracks` must be at least 1, got 0"),
        ("fisher_fraction", 0.0, "`fisher_fraction` must lie in"),
        ("entropy_weight", -0.1, "`entropy_weight` must be at least 0, got -0.1"),
    ],
)
def test_settings_that_are_no_step_are_refused(setting: str, value: float, message: str):
    with pytest.raises(ValueError, match=message):
        TrustRegion(**{setting: value})


def test_a_step_leaves_every_parameter_where_it_is(policy: GaussianPolicy):
    before = [parameter.data_ptr() for parameter in policy.parameters()]
    take_step(policy, *samples(policy), torch.ones(200).double(), max_kl=0.01)
    assert [parameter.data_ptr() for parameter in policy.parameters()] == before


@given(st.floats(0.2, 1.0))
def test_it_takes_the_longest_acceptable_power_of_the_ratio(limit: float):
    fraction = backtracking_line_search(lambda f: f <= limit, backtrack_ratio=0.5, max_backtracks=10)
    assert fraction <= limit
    assert fraction == 1.0 or 2.0 * fraction > limit


def test_it_gives_up_after_its_tries():
    tried = []
    fraction = backtracking_line_search(lambda f: bool(tried.append(f)), backtrack_ratio=0.5, max_backtracks=3)
    assert fraction == 0.0
    assert tried == [1.0, 0.5, 0.25]


def test_held_samples_teach_the_mean_and_not_the_spread(policy: GaussianPolicy):
    observations, actions, advantages = samples(policy)
    spread, mean = policy.log_std.detach().clone(), policy.mean(observations).detach()
    region, weights = TrustRegion(max_kl=0.01), torch.ones(200).double()
    trpo_step(policy, observations, actions, advantages, weights, region, held=torch.ones(200, dtype=torch.bool))
    assert torch.equal(policy.log_std, spread)
    assert not torch.equal(policy.mean(observations), mean)


def test_a_step_that_holds_no_sample_is_the_plain_step(policy: GaussianPolicy):
    plain, held = copy.deepcopy(policy), copy.deepcopy(policy)
    batch, region = (*samples(policy), torch.ones(200).double()), TrustRegion(fisher_fraction=1.0)
    trpo_step(plain, *batch, region)
    trpo_step(held, *batch, region, held=torch.zeros(200, dtype=torch.bool))
    torch.testing.assert_close(flat(plain), flat(held))
