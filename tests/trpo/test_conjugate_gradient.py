"""Conjugate gradients against NumPy's direct solver."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl.trpo import conjugate_gradient


def positive_definite(size: int, seed: int) -> torch.Tensor:
    factor = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return factor @ factor.T + 0.5 * torch.eye(size, dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(0, 1000))
def test_it_solves_a_random_system_as_numpy_does(size: int, seed: int):
    matrix = positive_definite(size, seed)
    b = torch.arange(1.0, size + 1.0, dtype=torch.float64)
    solution = conjugate_gradient(lambda v: matrix @ v, b, iterations=5 * size, tolerance=1e-26)
    torch.testing.assert_close(
        solution, torch.from_numpy(np.linalg.solve(matrix.numpy(), b.numpy())), rtol=1e-6, atol=1e-8
    )


def test_it_is_exact_after_as_many_steps_as_unknowns():
    matrix = torch.diag(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))
    b = torch.ones(3, dtype=torch.float64)
    exact = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    torch.testing.assert_close(conjugate_gradient(lambda v: matrix @ v, b, iterations=3), exact)
    assert not torch.allclose(conjugate_gradient(lambda v: matrix @ v, b, iterations=2), exact)


def test_a_zero_right_hand_side_gives_zero():
    solution = conjugate_gradient(lambda v: 2.0 * v, torch.zeros(4), iterations=10)
    torch.testing.assert_close(solution, torch.zeros(4))


def test_steps_after_convergence_change_nothing():
    b = torch.tensor([3.0, -1.0])
    torch.testing.assert_close(conjugate_gradient(lambda v: 2.0 * v, b, iterations=50), b / 2.0)
