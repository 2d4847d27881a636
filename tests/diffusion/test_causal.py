"""Causal denoisers: what a row may see, and what it may not."""

import pytest
import torch
from torch import nn

from rrl.diffusion import CausalDenoiser, CausalGRUDenoiser, TemporalUNet
from rrl.diffusion.denoiser import denoising_loss

OBS, ACTION, HORIZON = 3, 2, 8


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    denoiser: nn.Module
    if name == "unet":
        denoiser = CausalDenoiser(TemporalUNet(OBS, ACTION + 1, HORIZON, (8, 16)), obs_dim=OBS, horizon=HORIZON)
    else:
        denoiser = CausalGRUDenoiser(OBS, ACTION, HORIZON, hidden_dim=16)
    # The output layers start at zero; a test of what they depend on needs them not to.
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.3)
    return denoiser.double()


def dependence(denoiser: nn.Module, row: int, features: slice, wanted: str) -> torch.Tensor:
    """Largest derivative of an output row with respect to each row of an input."""
    inputs = {
        "states": torch.randn(1, HORIZON, OBS, dtype=torch.float64, requires_grad=True),
        "outcomes": torch.randn(1, HORIZON, 2, dtype=torch.float64, requires_grad=True),
        "actions": torch.randn(1, HORIZON, ACTION, dtype=torch.float64, requires_grad=True),
    }
    noisy = torch.cat([inputs["states"], inputs["outcomes"]], dim=-1)
    output = denoiser(noisy, inputs["actions"], torch.zeros(1, OBS).double(), torch.ones(1).double())
    (gradient,) = torch.autograd.grad(output[0, row, features].sum(), inputs[wanted], allow_unused=True)
    return gradient[0].abs().amax(dim=1)


@pytest.mark.parametrize("name", ["unet", "gru"])
@pytest.mark.parametrize("row", [1, 4, 7])
def test_a_state_sees_earlier_actions_and_outcomes_and_no_later_ones(name: str, row: int):
    denoiser, state = build(name), slice(0, OBS)
    for cause in ("actions", "outcomes"):
        seen = dependence(denoiser, row, state, cause)
        assert (seen[row:] == 0.0).all()
        assert seen[row - 1] > 0.0


@pytest.mark.parametrize("name", ["unet", "gru"])
@pytest.mark.parametrize("row", [1, 4, 7])
def test_a_state_sees_no_later_state(name: str, row: int):
    seen = dependence(build(name), row, slice(0, OBS), "states")
    assert (seen[row + 1 :] == 0.0).all()
    assert seen[row] > 0.0


@pytest.mark.parametrize("name", ["unet", "gru"])
@pytest.mark.parametrize("row", [0, 3, 6])
def test_an_outcome_sees_its_action_and_the_state_it_led_to_and_nothing_later(name: str, row: int):
    denoiser, outcome = build(name), slice(OBS, OBS + 2)
    actions, states = (dependence(denoiser, row, outcome, wanted) for wanted in ("actions", "states"))
    assert actions[row] > 0.0
    assert states[row + 1] > 0.0
    assert (actions[row + 1 :] == 0.0).all()
    assert (states[row + 2 :] == 0.0).all()


def test_random_prefixes_estimate_the_loss_on_all_of_them():
    denoiser, count = build("unet"), 4000
    window = [torch.randn(1, HORIZON, size, dtype=torch.float64) for size in (OBS + 2, ACTION, OBS + 2)]
    noisy, actions, x0 = (part.expand(count, -1, -1) for part in window)
    start, sigma = torch.zeros(count, OBS).double(), torch.ones(count).double()
    weights = torch.ones_like(x0)
    weights[:, 0, :OBS] = weights[:, -1, OBS:] = 0.0
    # What a denoiser has nothing to say about must not count, whatever the weights say.
    loss = denoiser.training_loss(noisy, actions, start, sigma, x0=x0, weights=torch.ones_like(x0))
    expected = denoising_loss(denoiser(noisy[:1], actions[:1], start[:1], sigma[:1]), x0[:1], weights[:1])
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.0)


def test_a_horizon_without_a_transition_is_refused():
    with pytest.raises(ValueError, match="`horizon` must be at least 2, got 1"):
        CausalGRUDenoiser(OBS, ACTION, 1)
