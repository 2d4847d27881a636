"""Real and imagined transitions get the shares of a policy update that they shall have."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rrl.algorithms.mixture import mix_real_and_imagined
from rrl.types import RolloutBatch


def batch(weights: list[float]) -> RolloutBatch:
    """One world; only the weights matter."""
    weight = torch.tensor(weights).unsqueeze(1)
    vectors, flags = torch.zeros(*weight.shape, 1), weight > 9.0
    return RolloutBatch(vectors, vectors, weight, flags, flags, vectors, weights=weight, value_weights=weight)


@pytest.mark.parametrize("real_fraction", [0.25, 1.0])
def test_the_real_share_is_as_asked_and_the_rest_is_shared_by_weight(real_fraction):
    real, *imagined = mix_real_and_imagined(batch([1.0, 1.0]), [batch([1.0, 1.0, 0.0]), batch([1.0])], real_fraction)
    torch.testing.assert_close(real.weights, torch.full((2, 1), real_fraction / 2))
    rest = (1.0 - real_fraction) / 3
    torch.testing.assert_close(imagined[0].weights, torch.tensor([[rest], [rest], [0.0]]))
    torch.testing.assert_close(imagined[1].weights, torch.tensor([[rest]]))


def test_without_a_real_share_the_imagined_ones_are_alone():
    (imagined,) = mix_real_and_imagined(batch([1.0]), [batch([1.0, 3.0])], 0.0)
    torch.testing.assert_close(imagined.weights, torch.tensor([[0.25], [0.75]]))


def test_imagined_transitions_that_were_all_dropped_leave_the_real_ones():
    real, imagined = mix_real_and_imagined(batch([1.0]), [batch([0.0])], 0.5)
    assert real.weights.sum() == 0.5
    assert imagined.weights.sum() == 0.0


def test_weights_in_the_fit_of_the_value_function_stay():
    given = replace(batch([1.0, 1.0]), value_weights=torch.full((2, 1), 3.0))
    real, _ = mix_real_and_imagined(given, [batch([1.0])], 0.5)
    assert torch.equal(real.value_weights, given.value_weights)
