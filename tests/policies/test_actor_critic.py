"""One player: how it acts, and a value function that keeps its predictions while its scale moves."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim import Adam

from rrl.policies import ActorCritic, ActorSnapshot, Learner, ValueFunction, fit_value_function


def test_zero_noise_gives_the_mean_and_unit_noise_one_deviation():
    player = ActorCritic(3, 2, Learner(initial_log_std=-1.0))
    observations = torch.randn(4, 3)
    mean, std = player.mean_and_std(observations)
    torch.testing.assert_close(player.act(observations, torch.zeros(4, 2)), mean)
    torch.testing.assert_close(player.act(observations, torch.ones(4, 2)), mean + std)


def test_acting_leaves_no_gradient_graph():
    assert not ActorCritic(3, 2).act(torch.randn(4, 3), torch.zeros(4, 2)).requires_grad


def test_policy_and_value_see_normalised_observations():
    player = ActorCritic(1, 1)
    before = player.value(torch.tensor([[5.0]]))
    player.normalizer.update(torch.tensor([[4.0], [6.0]]))
    torch.testing.assert_close(player.value(torch.tensor([[5.0]])), player.value_function(torch.zeros(1, 1)))
    assert not torch.equal(player.value(torch.tensor([[5.0]])), before)


def test_a_moving_scale_changes_no_prediction():
    torch.manual_seed(0)
    value_function, observations = ValueFunction(3), torch.randn(50, 3)
    before = value_function(observations).detach()
    for scale in (1.0, 100.0, 5000.0):
        value_function.rescale(scale * torch.randn(200) + scale, torch.ones(200))
        torch.testing.assert_close(value_function(observations).detach(), before, rtol=1e-3, atol=1e-3)


def test_the_first_targets_set_the_scale():
    value_function = ValueFunction(3)
    targets = torch.tensor([90.0, 110.0])
    value_function.rescale(targets, torch.ones(2))
    torch.testing.assert_close(value_function.standardize(targets), torch.tensor([-1.0, 1.0]))


def test_targets_of_weight_zero_do_not_move_the_scale():
    value_function = ValueFunction(3)
    value_function.rescale(torch.tensor([90.0, 110.0, 1e6]), torch.tensor([1.0, 1.0, 0.0]))
    assert float(value_function.mean) == 100.0


@pytest.mark.parametrize("activation", ["tanh", "silu"])
@pytest.mark.parametrize("hidden_sizes", [(), (5,), (6, 7)])
@pytest.mark.parametrize("shape", [(16,), ()])
def test_actions_are_those_of_the_player_to_the_bit(activation, hidden_sizes, shape):
    torch.manual_seed(0)
    player = ActorCritic(3, 2, Learner(hidden_sizes=hidden_sizes, activation=activation, initial_log_std=-0.7))
    player.normalizer.update(5.0 + 2.0 * torch.randn(100, 3))
    observations, noise = 5.0 + 50.0 * torch.randn(*shape, 3), torch.randn(*shape, 2)
    actions = ActorSnapshot(player).act(observations, noise)
    assert torch.equal(actions, player.act(observations, noise))
    assert not actions.requires_grad


def test_observations_are_left_as_they_are():
    observations = torch.full((2, 3), 100.0)
    ActorSnapshot(ActorCritic(3, 2)).act(observations, torch.zeros(2, 2))
    assert (observations == 100.0).all()


def samples(count: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Observations, targets that depend on them, weights."""
    torch.manual_seed(0)
    observations = torch.randn(count, 3)
    return observations, 100.0 + 20.0 * observations[:, 0], torch.rand(count)


def test_the_fit_takes_the_steps_of_adam_on_the_weighted_mean_squared_error():
    observations, targets, weights = samples()
    fitted = ValueFunction(3, hidden_sizes=[8]).double()
    reference = copy.deepcopy(fitted)
    observations, targets, weights = observations.double(), targets.double(), weights.double()
    torch.manual_seed(1)
    loss = fit_value_function(
        fitted, Adam(fitted.parameters()), observations, targets, weights, epochs=3, batch_size=25
    )

    torch.manual_seed(1)
    reference.rescale(targets, weights)
    optimizer, standardized = Adam(reference.parameters()), reference.standardize(targets)
    for _ in range(3):
        for chosen in torch.randperm(60).split(25):
            error = reference.standardized(observations[chosen]) - standardized[chosen]
            expected = (weights[chosen] / weights.mean() * error.square()).mean()
            optimizer.zero_grad()
            expected.backward()
            optimizer.step()

    assert loss == pytest.approx(expected.item(), rel=1e-9)
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(fitted.state_dict()[name], value, rtol=1e-8, atol=1e-10)


def test_a_value_function_learns_in_units_of_reward():
    observations, targets, weights = samples(500)
    value_function = ValueFunction(3)
    optimizer = Adam(value_function.parameters(), lr=1e-2)
    fit_value_function(value_function, optimizer, observations, targets, weights, epochs=30, batch_size=50)
    assert (value_function(observations) - targets).abs().mean() < 2.0


def test_samples_of_weight_zero_teach_nothing():
    observations, targets, _ = samples()
    spoilt = targets.clone()
    spoilt[:30] = 1e6
    weights = torch.cat([torch.zeros(30), torch.ones(30)])
    fitted = [ValueFunction(3, hidden_sizes=[8]) for _ in range(2)]
    fitted[1].load_state_dict(fitted[0].state_dict())
    for value_function, wanted in zip(fitted, (targets, spoilt), strict=True):
        torch.manual_seed(1)
        optimizer = Adam(value_function.parameters())
        fit_value_function(value_function, optimizer, observations, wanted, weights, epochs=2, batch_size=20)
    torch.testing.assert_close(fitted[0](observations), fitted[1](observations))


def test_a_loss_that_is_not_finite_is_an_error():
    observations, targets, weights = samples()
    value_function = ValueFunction(3)
    optimizer = Adam(value_function.parameters(), lr=1e30)
    with pytest.raises(FloatingPointError, match="the value loss is not finite"):
        fit_value_function(value_function, optimizer, observations, targets, weights, epochs=9, batch_size=20)
