"""Running observation statistics against NumPy over all that was seen."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl.policies import RunningNormalizer


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 100))
def test_statistics_equal_numpys_however_the_data_are_cut(sizes: list[int], seed: int):
    rng = np.random.default_rng(seed)
    parts = [rng.normal([100.0, -3.0], [0.1, 5.0], (size, 2)) for size in sizes]
    normalizer = RunningNormalizer(2)
    for part in parts:
        normalizer.update(torch.from_numpy(part))
    everything = np.concatenate(parts)
    np.testing.assert_allclose(normalizer.mean.numpy(), everything.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(normalizer.variance.numpy(), everything.var(axis=0), rtol=1e-6, atol=1e-9)


def test_it_is_the_identity_before_any_data():
    observations = torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(RunningNormalizer(2)(observations), observations)


def test_standardised_data_have_mean_0_and_deviation_1_and_keep_their_dtype():
    observations = 7.0 + 3.0 * torch.randn(5000, 1, generator=torch.Generator().manual_seed(0))
    normalizer = RunningNormalizer(1)
    normalizer.update(observations)
    result = normalizer(observations)
    assert result.dtype == torch.float32
    assert abs(float(result.mean())) < 1e-4
    assert abs(float(result.std()) - 1.0) < 1e-3


def test_outliers_are_clipped():
    assert float(RunningNormalizer(1)(torch.tensor([[1e6]]))) == 10.0
