"""The A2C step: its gradient, its entropy bonus, the control of its length, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import kl_divergence
from torch.optim import SGD, AdamW

from rrl.a2c import A2C, BACKTRACK_RATIO, a2c_step, policy_gradient_objective
from rrl.policies import GaussianPolicy


@pytest.fixture
def policy() -> GaussianPolicy:
    torch.manual_seed(0)
    return GaussianPolicy(3, 2, hidden_sizes=(5,), initial_log_std=-0.3).double()


def samples(policy: GaussianPolicy, count: int = 200) -> tuple[torch.Tensor, ...]:
    """Observations, actions, advantages that favour actions to the right of the mean, and weights."""
    torch.manual_seed(1)
    observations = torch.randn(count, 3, dtype=torch.float64)
    actions = policy(observations).sample()
    advantages = (actions - policy.mean(observations).detach())[:, 0]
    return observations, actions, advantages, torch.ones(count, dtype=torch.float64)


def flat(policy: GaussianPolicy) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1).clone() for parameter in policy.parameters()])


def adamw(policy: GaussianPolicy, learning_rate: float) -> AdamW:
    return AdamW(policy.parameters(), lr=learning_rate)


def step(policy, batch, learning_rate=1e-5, **options):
    return a2c_step(policy, *batch, A2C(**options), adamw(policy, learning_rate))


def test_the_gradient_is_the_score_times_the_advantage_and_the_entropy_adds_its_weight_to_the_spread():
    # One action 0.6 of a policy N(0.2, 0.5^2) with advantage 3: the score is 1.6 in the mean and 0.64 - 1 in ln std,
    # and the entropy, ln std + const, has the gradient 1 in ln std.
    policy = GaussianPolicy(1, 1, hidden_sizes=(), initial_log_std=float(torch.tensor(0.5).log()))
    torch.nn.init.zeros_(policy.mean[0].weight)
    torch.nn.init.constant_(policy.mean[0].bias, 0.2)
    ones = torch.ones(1)
    objective = policy_gradient_objective(
        policy(torch.zeros(1, 1)), torch.full((1, 1), 0.6), 3.0 * ones, ones, entropy_weight=0.1
    )
    bias, log_std = torch.autograd.grad(objective, [policy.mean[0].bias, policy.log_std])
    torch.testing.assert_close(bias, torch.tensor([3.0 * 1.6]))
    torch.testing.assert_close(log_std, torch.tensor([3.0 * (0.64 - 1.0) + 0.1]))


def test_a_short_step_of_plain_gradient_ascent_goes_along_the_weighted_policy_gradient(policy: GaussianPolicy):
    observations, actions, advantages, _ = samples(policy)
    weights = torch.rand(200, dtype=torch.float64)
    before = flat(policy)
    loss = -(weights / weights.sum() * policy(observations).log_prob(actions) * advantages).sum()
    gradients = torch.autograd.grad(loss, list(policy.parameters()))
    norm = torch.cat([gradient.reshape(-1) for gradient in gradients[1:]]).norm()
    assert norm > 0.1  # of the mean's network, which is clipped to 0.1; the spread is not
    expected = torch.cat([gradients[0], *(0.1 / norm * gradient.reshape(-1) for gradient in gradients[1:])])
    optimizer = SGD(policy.parameters(), lr=1e-4)
    outcome = a2c_step(policy, observations, actions, advantages, weights, A2C(entropy_weight=0.0), optimizer)
    assert outcome.step_fraction == 1.0
    torch.testing.assert_close((before - flat(policy)) / 1e-4, expected, rtol=1e-4, atol=1e-8)


def test_a_short_step_is_the_one_of_adamw(policy: GaussianPolicy):
    batch = samples(policy)
    assert step(policy, batch).step_fraction == 1.0
    stepped = flat(policy)
    torch.manual_seed(0)
    twin = GaussianPolicy(3, 2, hidden_sizes=(5,), initial_log_std=-0.3).double()
    observations, actions, advantages, _ = batch
    (
        -(twin(observations).log_prob(actions) * advantages).mean() - 1e-5 * twin(observations).entropy().mean()
    ).backward()
    torch.nn.utils.clip_grad_norm_(twin.mean.parameters(), 0.1)
    adamw(twin, 1e-5).step()
    torch.testing.assert_close(stepped, flat(twin), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("log_prob_change", [0.001, 0.01, 0.1])
def test_a_long_step_is_shortened_until_the_log_probabilities_change_as_much_as_they_may(
    policy: GaussianPolicy, log_prob_change: float
):
    batch = samples(policy)
    observations, actions, advantages, _ = batch
    old = policy(observations)
    old_log_probs = old.log_prob(actions).detach()
    outcome = step(policy, batch, learning_rate=0.1, log_prob_change=log_prob_change)
    with torch.no_grad():
        new = policy(observations)
        log_ratio = new.log_prob(actions) - old_log_probs
    # The next longer step would have changed too much.
    assert BACKTRACK_RATIO * log_prob_change * 0.95 < log_ratio.abs().mean() <= log_prob_change
    assert 0.0 < outcome.step_fraction < 1.0
    assert outcome.kl_divergence == pytest.approx(float(kl_divergence(old, new).mean().detach()))
    assert outcome.surrogate == pytest.approx(float((log_ratio.exp() * advantages).mean() - advantages.mean()))
    assert outcome.surrogate > 0.0


def test_the_search_ends_where_one_that_scales_the_learning_rate_does(policy: GaussianPolicy):
    batch = samples(policy)
    observations, actions, _, _ = batch
    before = flat(policy)
    with torch.no_grad():
        old_log_probs = policy(observations).log_prob(actions)
    outcome = step(policy, batch, learning_rate=0.05)
    found = flat(policy)
    # The same gradient, and a fresh optimizer for every learning rate.
    learning_rate, change = 0.05, torch.inf
    while change > 0.01:
        torch.nn.utils.vector_to_parameters(before.clone(), policy.parameters())
        adamw(policy, learning_rate).step(lambda: None)  # the gradients are still those of the step
        with torch.no_grad():
            change = (policy(observations).log_prob(actions) - old_log_probs).abs().mean()
        learning_rate *= 0.8
    assert outcome.step_fraction == pytest.approx(learning_rate / 0.8 / 0.05)
    torch.testing.assert_close(found, flat(policy), rtol=0.0, atol=1e-9)


def test_the_optimizer_counts_one_step_however_long_the_search(policy: GaussianPolicy):
    optimizer = adamw(policy, 0.1)
    for _ in range(3):
        a2c_step(policy, *samples(policy), A2C(), optimizer)
    assert {int(state["step"]) for state in optimizer.state.values()} == {3}
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_without_an_acceptable_length_every_parameter_is_restored_bit_for_bit(policy: GaussianPolicy):
    before = flat(policy)
    assert step(policy, samples(policy), learning_rate=0.1, log_prob_change=1e-12) == (0.0, 0.0, 0.0)
    assert torch.equal(flat(policy), before)


def test_the_entropy_bonus_widens_the_policy(policy: GaussianPolicy):
    observations, actions, advantages, weights = samples(policy)
    before = policy.log_std.detach().clone()
    step(policy, (observations, actions, 0.0 * advantages, weights), entropy_weight=1.0)
    assert (policy.log_std > before).all()


def test_samples_of_weight_zero_have_no_influence(policy: GaussianPolicy):
    observations, actions, advantages, weights = samples(policy)
    initial = {name: value.clone() for name, value in policy.state_dict().items()}
    weights[100:] = 0.0
    advantages[100:] = 1e3
    step(policy, (observations, actions, advantages, weights), learning_rate=0.1)
    masked = flat(policy)
    policy.load_state_dict(initial)
    step(policy, (observations[:100], actions[:100], advantages[:100], weights[:100]), learning_rate=0.1)
    torch.testing.assert_close(masked, flat(policy))


def test_the_policy_improves_over_many_steps(policy: GaussianPolicy):
    optimizer = adamw(policy, 0.02)
    torch.manual_seed(2)
    observations = torch.randn(500, 3, dtype=torch.float64)
    weights = torch.ones(500, dtype=torch.float64)

    def reward(actions):  # best where the action equals the first two observations
        return -(actions - observations[:, :2]).square().sum(-1)

    first = reward(policy.mean(observations).detach()).mean()
    for _ in range(200):
        actions = policy(observations).sample()
        advantages = reward(actions) - reward(actions).mean()
        batch = observations, actions, advantages / advantages.std(), weights
        a2c_step(policy, *batch, A2C(log_prob_change=0.1), optimizer)
    assert reward(policy.mean(observations).detach()).mean() > 0.5 * first


def test_what_cannot_be_stepped_on_is_refused(policy: GaussianPolicy):
    observations, actions, advantages, weights = samples(policy)
    with pytest.raises(ValueError, match="at least one sample must have a positive weight, got a total of 0"):
        step(policy, (observations, actions, advantages, 0.0 * weights))
    before = flat(policy)
    with pytest.raises(FloatingPointError, match="the policy gradient is not finite"):
        step(policy, (observations, actions, advantages * torch.nan, weights))
    assert torch.equal(flat(policy), before)
