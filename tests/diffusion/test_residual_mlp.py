"""The paper's denoiser."""

import pytest
import torch
from torch import Tensor, nn

from rrl.diffusion.residual_mlp import ResidualMLPDenoiser


def make_inputs(horizon: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    noisy, actions = (torch.randn(3, horizon, size, generator=generator) for size in (6, 2))
    return noisy, actions, torch.randn(3, 4, generator=generator), torch.tensor([0.03, 1.0, 20.0])


@pytest.fixture(scope="module")
def denoiser() -> nn.Module:
    """A network of which every parameter, also the output layer's, is random."""
    torch.manual_seed(0)
    network = ResidualMLPDenoiser(obs_dim=4, action_dim=2, horizon=8)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def test_an_untrained_network_predicts_that_nothing_changes():
    assert (ResidualMLPDenoiser(obs_dim=4, action_dim=2, horizon=8)(*make_inputs()) == 0.0).all()


def test_output_has_the_shape_of_the_noisy_trajectory(denoiser: nn.Module):
    assert denoiser(*make_inputs()).shape == (3, 8, 6)


@pytest.mark.parametrize("argument", range(4), ids=["noisy", "actions", "start", "sigma"])
def test_every_input_matters(denoiser: nn.Module, argument: int):
    inputs = list(make_inputs())
    before = denoiser(*inputs)
    inputs[argument] = 1.1 * inputs[argument] + 0.1
    assert ((denoiser(*inputs) - before).abs().amax(dim=(1, 2)) > 1e-4).all()


def test_trajectories_do_not_see_each_other(denoiser: nn.Module):
    inputs = make_inputs()
    torch.testing.assert_close(denoiser(*[value[1:2] for value in inputs]), denoiser(*inputs)[1:2])


def test_all_parameters_receive_gradients(denoiser: nn.Module):
    gradients = torch.autograd.grad(denoiser(*make_inputs()).square().sum(), list(denoiser.parameters()))
    assert all(gradient.abs().sum() > 0.0 for gradient in gradients)
