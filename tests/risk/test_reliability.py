"""Reliability curve and calibration errors against scikit-learn, bootstrap intervals against SciPy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from sklearn.calibration import calibration_curve
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from rrl.risk.calibration import equal_mass_edges, equal_width_edges
from rrl.risk.metrics import risk_metrics
from rrl.risk.reliability import (
    ScoredStates,
    bootstrap_by_trajectory,
    expected_calibration_error,
    reliability_curve,
)


def _errors(risk: Tensor, labels: Tensor, num_bins: int) -> tuple[float, float]:
    values = risk_metrics(risk, labels, torch.arange(len(risk)), num_bins=num_bins)
    return values["ece"], values["ece_equal_mass"]


def _data(seed: int = 0, num_samples: int = 1003) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risk = torch.rand(num_samples, generator=generator, dtype=torch.float64)
    return risk, torch.rand(num_samples, generator=generator) < risk**2


@pytest.mark.parametrize(("strategy", "edges"), [("uniform", equal_width_edges), ("quantile", None)])
def test_the_curve_agrees_with_scikit_learn(strategy: str, edges: Callable[[int], Tensor] | None):
    risk, labels = _data()
    curve = reliability_curve(risk, labels, edges(8) if edges else equal_mass_edges(risk, 8))
    rates, means = calibration_curve(labels.numpy(), risk.numpy(), n_bins=8, strategy=strategy)
    assert curve.failure_rate.tolist() == pytest.approx(rates)
    assert curve.mean_risk.tolist() == pytest.approx(means)


def test_the_equal_width_error_agrees_with_torchmetrics():
    risk, labels = _data()
    reference = binary_calibration_error(risk, labels.long(), n_bins=15, norm="l1")
    assert _errors(risk, labels, 15)[0] == pytest.approx(float(reference), abs=1e-6)


def test_a_risk_on_an_edge_belongs_to_the_bin_below():
    risk, labels = torch.tensor([0.25, 0.5, 0.5]), torch.tensor([True, False, False])
    assert _errors(risk, labels, 2)[0] == pytest.approx(1.25 / 3 - 1 / 3)


def test_the_equal_mass_error_by_hand():
    risk, labels = torch.tensor([0.1, 0.3, 0.6, 0.8]), torch.tensor([False, False, True, False])
    assert _errors(risk, labels, 2)[1] == pytest.approx(0.5 * 0.2 + 0.5 * 0.2)


def test_a_perfectly_reliable_risk_has_no_error():
    risk = torch.tensor([0.25] * 4 + [0.75] * 4)
    labels = torch.tensor([1, 0, 0, 0, 1, 1, 1, 0]).bool()
    assert expected_calibration_error(reliability_curve(risk, labels, equal_width_edges(2))) == 0.0


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rate(risk: Tensor, labels: Tensor) -> Tensor:
    return labels.double().mean()


def _clustered(num_trajectories: int, length: int, seed: int = 0) -> ScoredStates:
    """All states of a trajectory share one label."""
    fates = torch.rand(num_trajectories, generator=_generator(seed)) < 0.3
    ids = torch.arange(num_trajectories).repeat_interleave(length)
    return ScoredStates(torch.rand(len(ids), generator=_generator(seed + 1)), fates[ids], ids)


def test_agrees_with_scipy_on_trajectories_of_one_state():
    values = torch.randn(60, generator=_generator(), dtype=torch.float64)
    low, high = bootstrap_by_trajectory(
        lambda risk, _: risk.mean(),
        ScoredStates(values, values > 0, torch.arange(60)),
        generator=_generator(),
        num_resamples=4000,
    )
    reference = bootstrap(
        (values.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert float(low) == pytest.approx(reference.low, abs=0.02)
    assert float(high) == pytest.approx(reference.high, abs=0.02)


def test_repeating_every_state_does_not_narrow_the_interval():
    widths = []
    for length in (1, 20):
        low, high = bootstrap_by_trajectory(_rate, _clustered(40, length), generator=_generator())
        widths.append(float(high - low))
    assert widths[1] == pytest.approx(widths[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        data = _clustered(40, 3, seed=1000 * seed)
        low, high = bootstrap_by_trajectory(_rate, data, generator=_generator(seed), num_resamples=200, confidence=0.9)
        covered += bool(low <= 0.3 <= high)
    assert 80 <= covered <= 98


def test_bands_of_a_curve_leave_resamples_with_an_empty_bin_out():
    risk, labels, ids = _clustered(10, 5)
    risk[:5] = 0.99  # one trajectory alone reaches the last bin
    risk[5:] *= 0.8

    def rates(risk: Tensor, labels: Tensor) -> Tensor:
        return reliability_curve(risk, labels, equal_width_edges(10)).failure_rate

    low, high = bootstrap_by_trajectory(rates, ScoredStates(risk, labels, ids), generator=_generator())
    assert low.shape == high.shape == (10,)
    assert low[-1] == high[-1] == labels[0].double()
    assert low[8].isnan()


def test_bad_arguments_raise():
    states = _clustered(3, 2)
    with pytest.raises(ValueError, match="must have one shape"):
        bootstrap_by_trajectory(_rate, states._replace(trajectory_ids=states.risk[:-1]), generator=_generator())
    with pytest.raises(ValueError, match="`num_resamples` must be at least 1"):
        bootstrap_by_trajectory(_rate, states, generator=_generator(), num_resamples=0)
    with pytest.raises(ValueError, match="`confidence` must lie"):
        bootstrap_by_trajectory(_rate, states, generator=_generator(), confidence=1.0)
