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


@pytest.mark.parametrize("last", [1, 4, 7])
def test_the_loss_on_a_prefix_is_that_of_its_last_state_and_outcome(last: int, monkeypatch):
    denoiser, count = build("unet"), 5
    noisy, actions, x0, weights = (
        torch.rand(count, HORIZON, size, dtype=torch.float64) for size in (OBS + 2, ACTION, OBS + 2, OBS + 2)
    )
    start, sigma = torch.rand(count, OBS).double(), torch.rand(count).double()
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, device: torch.full(shape, last))
    loss = denoiser.training_loss(noisy, actions, start, sigma, x0=x0, weights=weights)
    drawn = torch.zeros_like(x0)
    drawn[:, last, :OBS] = drawn[:, last - 1, OBS:] = 1.0
    estimate = denoiser(noisy, actions, start, sigma)
    torch.testing.assert_close(loss, denoising_loss(estimate, x0, weights * drawn))


def test_every_prefix_is_drawn_alike():
    drawn = torch.zeros(HORIZON)

    class Recorder(nn.Module):
        def forward(self, noisy, causes, start, sigma):
            drawn.index_add_(0, causes[..., -1].sum(dim=1).long(), torch.ones(len(causes)))
            return noisy

    denoiser, rows = CausalDenoiser(Recorder(), obs_dim=OBS, horizon=HORIZON), torch.zeros(7000, HORIZON, OBS + 2)
    actions = torch.zeros(7000, HORIZON, ACTION)
    denoiser.training_loss(rows, actions, rows[:, 0], rows[:, 0, 0], x0=rows, weights=torch.ones_like(rows))
    assert drawn[0] == 0
    assert ((drawn[1:] - 1000.0).abs() < 150.0).all()


def test_a_horizon_without_a_transition_is_refused():
    with pytest.raises(ValueError, match="`horizon` must be at least 2, got 1"):
        CausalGRUDenoiser(OBS, ACTION, 1)
