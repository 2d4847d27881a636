"""All denoisers: what each must do, what a causal row may see, and which sizes are refused."""

import pytest
import torch
from torch import Tensor, nn

from rrl.diffusion.causal import CausalGRU
from rrl.diffusion.denoiser import DenoiserSettings, WindowDenoiser, add_noise, denoising_loss
from rrl.diffusion.residual_mlp import ResidualMLP
from rrl.diffusion.unet import TemporalUNet

OBS, ACTION, HORIZON = 4, 2, 8
DENOISERS: dict[str, DenoiserSettings] = {
    "residual_mlp": ResidualMLP(),
    "unet": TemporalUNet(channels=(8, 16)),
    "gru": CausalGRU(width=16),
}
CAUSAL = ["unet", "gru"]
every_denoiser = pytest.mark.parametrize("name", DENOISERS)


def build(name: str) -> WindowDenoiser:
    """A network of which every parameter, also the output layer's, is random."""
    torch.manual_seed(0)
    denoiser = DENOISERS[name].build(OBS, ACTION, HORIZON)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.2)
    return denoiser.double()


def make_inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    noisy, actions = (torch.randn(3, HORIZON, size, generator=generator).double() for size in (OBS + 2, ACTION))
    return noisy, actions, torch.randn(3, OBS, generator=generator).double(), torch.tensor([0.03, 1.0, 20.0]).double()


@every_denoiser
def test_an_untrained_network_predicts_that_nothing_changes(name: str):
    assert (DENOISERS[name].build(OBS, ACTION, HORIZON).double()(*make_inputs()) == 0.0).all()


@every_denoiser
def test_output_has_the_shape_of_the_noisy_trajectory(name: str):
    assert build(name)(*make_inputs()).shape == (3, HORIZON, OBS + 2)


@every_denoiser
@pytest.mark.parametrize("argument", range(4), ids=["noisy", "actions", "start", "sigma"])
def test_every_input_matters(name: str, argument: int):
    denoiser, inputs = build(name), list(make_inputs())
    before = denoiser(*inputs)
    inputs[argument] = 1.1 * inputs[argument] + 0.1
    assert ((denoiser(*inputs) - before).abs().amax(dim=(1, 2)) > 1e-4).all()


@every_denoiser
def test_trajectories_do_not_see_each_other(name: str):
    denoiser, inputs = build(name), make_inputs()
    torch.testing.assert_close(denoiser(*[value[1:2] for value in inputs]), denoiser(*inputs)[1:2])


@every_denoiser
def test_all_parameters_receive_gradients(name: str):
    denoiser = build(name)
    gradients = torch.autograd.grad(denoiser(*make_inputs()).square().sum(), list(denoiser.parameters()))
    assert all(gradient.abs().sum() > 0.0 for gradient in gradients)


def jacobian(settings: DenoiserSettings, horizon: int) -> dict[tuple[str, str], Tensor]:
    """Largest derivative of each output row with respect to each input row, ``[H, H]``, by output and input."""
    torch.manual_seed(0)
    denoiser = settings.build(OBS, ACTION, horizon)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.2)
    noisy, actions = torch.randn(1, horizon, OBS + 2).double(), torch.randn(1, horizon, ACTION).double()
    start, sigma = torch.randn(1, OBS).double(), torch.ones(1).double()
    by_noisy, by_actions = torch.autograd.functional.jacobian(
        lambda noisy, actions: denoiser.double()(noisy, actions, start, sigma)[0], (noisy, actions)
    )
    state, outcome = slice(0, OBS), slice(OBS, None)
    inputs = {"states": by_noisy[..., state], "outcomes": by_noisy[..., outcome], "actions": by_actions}
    return {
        (output, name): derivative[:, features, 0].abs().amax(dim=(1, 3))
        for output, features in (("states", state), ("outcomes", outcome))
        for name, derivative in inputs.items()
    }


SIZES: dict[str, tuple[DenoiserSettings, int]] = {
    "two rows": (TemporalUNet(channels=(8, 16)), 2),
    "eight rows": (TemporalUNet(channels=(8, 16)), 8),
    "default": (TemporalUNet(), 8),
    "ten rows": (TemporalUNet(channels=(16, 8)), 10),
    "three levels": (TemporalUNet(channels=(8, 8, 16)), 12),
    "four levels": (TemporalUNet(channels=(8, 16, 16, 8)), 8),
    "gru": (CausalGRU(width=16), 7),
}


@pytest.mark.parametrize("size", SIZES)
def test_each_row_sees_the_four_nearest_that_it_may_and_no_later_one(size: str):
    derivatives, horizon = jacobian(*SIZES[size]), SIZES[size][1]
    row, other = torch.arange(horizon)[:, None], torch.arange(horizon)
    estimated = {"states": row > 0, "outcomes": row < horizon - 1}
    # The latest row of each input that the state of a row may see; its outcome may see one more.
    latest = {"states": row, "outcomes": row - 1, "actions": row - 1}
    for (output, name), derivative in derivatives.items():
        allowed = estimated[output] & (other <= latest[name] + (output == "outcomes"))
        assert (derivative[~allowed] == 0.0).all(), (output, name)
        near = allowed & (other >= latest[name] - 3)
        assert (derivative[near] > 0.0).all(), (output, name)


@pytest.mark.parametrize("name", CAUSAL)
def test_the_loss_leaves_out_the_outcome_of_the_last_row(name: str):
    denoiser, inputs = build(name), make_inputs()
    x0, weights = (torch.rand_like(inputs[0]) for _ in range(2))
    loss = denoiser.training_loss(*inputs, x0=x0, weights=weights)
    weights[:, -1, OBS:] = 0.0
    torch.testing.assert_close(loss, denoising_loss(denoiser(*inputs), x0, weights))


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_denoiser_learns_what_actions_do(name: str):
    torch.manual_seed(0)
    denoiser = DENOISERS[name].build(1, 1, HORIZON)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.01)
    for _ in range(100):
        actions = 2.0 * torch.rand(64, HORIZON, 1) - 1.0
        walks = torch.cat([torch.zeros(64, 1, 1), actions[:, :-1].cumsum(dim=1)], dim=1)
        x0 = torch.cat([walks, actions, -torch.ones_like(walks)], dim=-1)
        sigma = torch.full((64,), 20.0)
        noisy = add_noise(x0, sigma, torch.randn_like(x0), obs_dim=1)
        loss = denoiser.training_loss(noisy, actions, torch.zeros(64, 1), sigma, x0=x0, weights=torch.ones_like(x0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # A constant leaves the variances: on average 7/6 for the walk and 1/3 for the reward.
    assert loss < 0.1


def test_three_levels_keep_the_horizon():
    denoiser = TemporalUNet(channels=(8, 8, 16)).build(OBS, ACTION, HORIZON)
    assert denoiser.double()(*make_inputs()).shape == (3, HORIZON, OBS + 2)


@pytest.mark.parametrize(
    ("settings", "horizon", "message"),
    [
        (TemporalUNet(channels=(16, 32)), 7, "`horizon` must be a multiple of 2, got 7"),
        (TemporalUNet(channels=(8, 16, 32)), 10, "`horizon` must be a multiple of 4, got 10"),
        (CausalGRU(), 1, "`horizon` must be at least 2, got 1"),
    ],
)
def test_horizons_that_do_not_fit_are_refused(settings: DenoiserSettings, horizon: int, message: str):
    with pytest.raises(ValueError, match=message):
        settings.build(OBS, ACTION, horizon)


@pytest.mark.parametrize("channels", [(16, 20), (16,), (0, 8)])
def test_channels_that_do_not_group_are_refused(channels: tuple[int, ...]):
    with pytest.raises(ValueError, match="`channels` must be two or more multiples of 8"):
        TemporalUNet(channels=channels)


def test_networks_without_a_layer_are_refused():
    with pytest.raises(ValueError, match="`num_layers` must be at least 1, got 0"):
        ResidualMLP(num_layers=0)
    with pytest.raises(ValueError, match="`width` must be at least 1, got 0"):
        CausalGRU(width=0)
