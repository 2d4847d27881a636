"""All denoisers: what each must do, what a causal row may see, and which sizes are refused."""

import pytest
import torch
from torch import Tensor, nn

from rrl.diffusion.causal import CausalDenoiser, CausalGRU
from rrl.diffusion.denoiser import Denoiser, DenoiserSettings, denoising_loss
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


def build(name: str) -> Denoiser:
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


def dependence(denoiser: nn.Module, row: int, features: slice, wanted: str) -> Tensor:
    """Largest derivative of an output row with respect to each row of an input."""
    sizes = {"states": OBS, "outcomes": 2, "actions": ACTION}
    inputs = {
        part: torch.randn(1, HORIZON, size, dtype=torch.float64, requires_grad=True) for part, size in sizes.items()
    }
    noisy = torch.cat([inputs["states"], inputs["outcomes"]], dim=-1)
    output = denoiser(noisy, inputs["actions"], torch.zeros(1, OBS).double(), torch.ones(1).double())
    (gradient,) = torch.autograd.grad(output[0, row, features].sum(), inputs[wanted], allow_unused=True)
    return gradient[0].abs().amax(dim=1)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("row", [1, 4, 7])
def test_a_state_sees_earlier_actions_and_outcomes_and_no_later_ones(name: str, row: int):
    denoiser, state = build(name), slice(0, OBS)
    for cause in ("actions", "outcomes"):
        seen = dependence(denoiser, row, state, cause)
        assert (seen[row:] == 0.0).all()
        assert seen[row - 1] > 0.0


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("row", [1, 4, 7])
def test_a_state_sees_no_later_state(name: str, row: int):
    seen = dependence(build(name), row, slice(0, OBS), "states")
    assert (seen[row + 1 :] == 0.0).all()
    assert seen[row] > 0.0


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("row", [0, 3, 6])
def test_an_outcome_sees_its_action_and_the_state_it_led_to_and_nothing_later(name: str, row: int):
    denoiser, outcome = build(name), slice(OBS, OBS + 2)
    actions, states = (dependence(denoiser, row, outcome, wanted) for wanted in ("actions", "states"))
    assert actions[row] > 0.0
    assert states[row + 1] > 0.0
    assert (actions[row + 1 :] == 0.0).all()
    assert (states[row + 2 :] == 0.0).all()


@pytest.mark.parametrize("last", [1, 4, 7])
def test_the_loss_on_a_prefix_is_that_of_its_last_state_and_outcome(last: int, monkeypatch: pytest.MonkeyPatch):
    denoiser, inputs = build("unet"), make_inputs()
    x0, weights = (torch.rand_like(inputs[0]) for _ in range(2))
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, device: torch.full(shape, last))
    loss = denoiser.training_loss(*inputs, x0=x0, weights=weights)
    drawn = torch.zeros_like(x0)
    drawn[:, last, :OBS] = drawn[:, last - 1, OBS:] = 1.0
    torch.testing.assert_close(loss, denoising_loss(denoiser(*inputs), x0, weights * drawn))


def test_every_prefix_is_drawn_alike():
    drawn = torch.zeros(HORIZON)

    def record(noisy: Tensor, causes: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        drawn.index_add_(0, causes[..., -1].sum(dim=1).long(), torch.ones(len(causes)))
        return noisy

    denoiser, rows = CausalDenoiser(record, obs_dim=OBS, horizon=HORIZON), torch.zeros(7000, HORIZON, OBS + 2)
    actions = torch.zeros(7000, HORIZON, ACTION)
    denoiser.training_loss(rows, actions, rows[:, 0], rows[:, 0, 0], x0=rows, weights=torch.ones_like(rows))
    assert drawn[0] == 0
    assert ((drawn[1:] - 1000.0).abs() < 150.0).all()


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
