"""The pinned start state, noise, its scaling and embedding, and the loss."""

import pytest
import torch

from rrl.diffusion.denoiser import NoiseLevelEmbedding, add_noise, apply_conditioning, denoising_loss, scale_noisy
from rrl.diffusion.residual_mlp import ResidualMLP


def test_pins_row_0_to_the_bit_and_nothing_else():
    trajectories, start = torch.randn(4, 3, 5), torch.randn(4, 3)
    pinned = apply_conditioning(trajectories, start)
    assert torch.equal(pinned[:, 0, :3], start)
    assert torch.equal(pinned[:, 0, 3:], trajectories[:, 0, 3:])
    assert torch.equal(pinned[:, 1:], trajectories[:, 1:])


def test_leaves_its_argument_alone():
    trajectories = torch.ones(1, 2, 3)
    apply_conditioning(trajectories, torch.zeros(1))
    assert torch.equal(trajectories, torch.ones(1, 2, 3))


def test_no_gradient_flows_into_the_pinned_entries():
    trajectories = torch.ones(1, 2, 3, requires_grad=True)
    apply_conditioning(trajectories, torch.zeros(2)).sum().backward()
    assert torch.equal(trajectories.grad, torch.tensor([[[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]]))


def test_too_many_features_raise():
    with pytest.raises(ValueError, match="`start_features` may have at most 3 features, got 4"):
        apply_conditioning(torch.ones(1, 2, 3), torch.zeros(4))


def test_noisy_data_of_unit_scale_are_scaled_to_unit_variance():
    sigma = torch.tensor([0.03, 1.0, 20.0])
    data, noise = torch.randn(2, 3, 50, 50)
    noisy = data + sigma[:, None, None] * noise
    torch.testing.assert_close(scale_noisy(noisy, sigma).std(dim=(1, 2)), torch.ones(3), atol=0.08, rtol=0.0)


def test_noise_leaves_the_start_alone():
    x0 = torch.randn(4, 3, 5)
    x0[:, 0, :3] = 0.0
    noise = torch.randn(4, 3, 5)
    noisy = add_noise(x0, torch.full((4,), 2.0), noise, obs_dim=3)
    assert (noisy[:, 0, :3] == 0.0).all()
    torch.testing.assert_close(noisy[:, 1:], (x0 + 2.0 * noise)[:, 1:])
    torch.testing.assert_close(noisy[:, 0, 3:], (x0 + 2.0 * noise)[:, 0, 3:])


def test_the_loss_ignores_what_has_no_weight():
    predicted, x0 = torch.randn(2, 4, 3, 5)
    weights = (torch.rand(4, 3, 5) < 0.5).float()
    expected = (predicted - x0)[weights.bool()].square().mean()
    torch.testing.assert_close(denoising_loss(predicted, x0, weights), expected)


def test_noise_levels_of_all_schedules_embed_apart():
    sigma = torch.logspace(-2.3, 3.4, 40)
    features = NoiseLevelEmbedding(16)(sigma)
    distances = torch.cdist(features, features) + torch.eye(40)
    assert distances.min() > 1e-3
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("sigma", [0.03, 20.0])
def test_a_denoiser_learns_what_actions_do(sigma: float):
    torch.manual_seed(0)
    denoiser = ResidualMLP(hidden_dim=64, num_layers=1).build(obs_dim=1, action_dim=1, horizon=4)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=3e-3)
    for _ in range(250):
        actions = 2.0 * torch.rand(128, 4, 1) - 1.0
        walks = torch.cat([torch.zeros(128, 1, 1), actions[:, :-1].cumsum(dim=1)], dim=1)
        x0 = torch.cat([walks, walks, -torch.ones_like(walks)], dim=-1)
        levels = torch.full((128,), sigma)
        noisy = add_noise(x0, levels, torch.randn_like(x0), obs_dim=1)
        start, weights = torch.zeros(128, 1), torch.ones_like(x0)
        loss = denoiser.training_loss(noisy, actions, start, levels, x0=x0, weights=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 * x0.square().mean()
