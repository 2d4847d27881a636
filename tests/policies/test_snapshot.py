"""A snapshot acts as the player does."""

import pytest
import torch

from rrl.policies import ActorCritic, ActorSnapshot, Learner


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
