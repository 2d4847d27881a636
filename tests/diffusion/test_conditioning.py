"""The start state stays pinned."""

import pytest
import torch

from rrl.diffusion.conditioning import apply_conditioning


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
