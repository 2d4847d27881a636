"""The fit of a value function: it is the plain one by Adam, and it finds what can be found."""

import copy

import pytest
import torch
from torch.optim import Adam

from rrl.policies import ValueFunction, fit_value_function


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
