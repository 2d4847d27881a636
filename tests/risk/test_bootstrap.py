"""Bootstrap intervals over trajectories."""

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from torch import Tensor

from rrl.risk.bins import equal_width_edges
from rrl.risk.bootstrap import bootstrap_by_trajectory
from rrl.risk.reliability import reliability_curve


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rate(risk: Tensor, labels: Tensor) -> Tensor:
    return labels.double().mean()


def _clustered(num_trajectories: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """All states of a trajectory share one label."""
    fates = torch.rand(num_trajectories, generator=_generator(seed)) < 0.3
    ids = torch.arange(num_trajectories).repeat_interleave(length)
    return torch.rand(len(ids), generator=_generator(seed + 1)), fates[ids], ids


def test_agrees_with_scipy_on_trajectories_of_one_state():
    values = torch.randn(60, generator=_generator(), dtype=torch.float64)
    low, high = bootstrap_by_trajectory(
        lambda risk, _: risk.mean(), values, values > 0, torch.arange(60), generator=_generator(), num_resamples=4000
    )
    reference = bootstrap(
        (values.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert float(low) == pytest.approx(reference.low, abs=0.02)
    assert float(high) == pytest.approx(reference.high, abs=0.02)


def test_repeating_every_state_does_not_narrow_the_interval():
    widths = []
    for length in (1, 20):
        low, high = bootstrap_by_trajectory(_rate, *_clustered(40, length), generator=_generator())
        widths.append(float(high - low))
    assert widths[1] == pytest.approx(widths[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        data = _clustered(40, 3, seed=1000 * seed)
        low, high = bootstrap_by_trajectory(_rate, *data, generator=_generator(seed), num_resamples=200, confidence=0.9)
        covered += bool(low <= 0.3 <= high)
    assert 80 <= covered <= 98


def test_bands_of_a_curve_leave_resamples_with_an_empty_bin_out():
    risk, labels, ids = _clustered(10, 5)
    risk[:5] = 0.99  # one trajectory alone reaches the last bin
    risk[5:] *= 0.8

    def rates(risk: Tensor, labels: Tensor) -> Tensor:
        return reliability_curve(risk, labels, equal_width_edges(10)).failure_rate

    low, high = bootstrap_by_trajectory(rates, risk, labels, ids, generator=_generator())
    assert low.shape == high.shape == (10,)
    assert low[-1] == high[-1] == labels[0].double()
    assert low[8].isnan()


def test_bad_arguments_raise():
    risk, labels, ids = _clustered(3, 2)
    with pytest.raises(ValueError, match="must have one shape"):
        bootstrap_by_trajectory(_rate, risk, labels, ids[:-1], generator=_generator())
    with pytest.raises(ValueError, match="`num_resamples` must be at least 1"):
        bootstrap_by_trajectory(_rate, risk, labels, ids, generator=_generator(), num_resamples=0)
    with pytest.raises(ValueError, match="`confidence` must lie"):
        bootstrap_by_trajectory(_rate, risk, labels, ids, generator=_generator(), confidence=1.0)
