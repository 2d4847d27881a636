"""Risk metrics against scikit-learn."""

import math

import pytest
import torch
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from torch import Tensor

from rrl.risk.metrics import LOWEST_PROBABILITY, brier_skill_score, risk_metrics


def _data(seed: int = 0, num_samples: int = 500) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risk = torch.rand(num_samples, generator=generator)
    return risk, torch.rand(num_samples, generator=generator) < risk, torch.arange(num_samples) // 50


def test_the_metrics_agree_with_scikit_learn():
    risk, labels, ids = _data()
    values = risk_metrics(risk, labels, ids, num_bins=10)
    exact, outcome = risk.double().numpy(), labels.numpy()
    assert values["brier"] == pytest.approx(brier_score_loss(outcome, exact), rel=1e-12)
    assert values["nll"] == pytest.approx(log_loss(outcome, exact), abs=1e-6)
    assert values["auroc"] == pytest.approx(roc_auc_score(outcome, exact), abs=1e-6)
    assert values["average_precision"] == pytest.approx(average_precision_score(outcome, exact), abs=1e-6)
    assert values["base_rate"] == pytest.approx(outcome.mean())
    assert values["num_trajectories"] == 10


def test_the_metrics_have_the_registered_names():
    names = {"brier", "nll", "ece", "ece_equal_mass", "auroc", "average_precision", "base_rate", "num_trajectories"}
    assert set(risk_metrics(*_data(), num_bins=10)) == names


@pytest.mark.parametrize("outcome", [False, True])
def test_ranking_is_undefined_for_one_class_and_says_so(outcome: bool):
    risk, _, ids = _data()
    values = risk_metrics(risk, torch.full((500,), outcome), ids, num_bins=10)
    assert math.isnan(values["auroc"])
    assert math.isnan(values["average_precision"])
    assert math.isfinite(values["brier"])


def test_a_rollout_without_known_labels_is_undefined_and_no_error():
    values = risk_metrics(torch.zeros(0), torch.zeros(0, dtype=torch.bool), torch.zeros(0).long(), num_bins=10)
    assert values.pop("num_trajectories") == 0
    assert all(math.isnan(value) for value in values.values())


def test_a_certain_error_keeps_the_likelihood_finite():
    values = risk_metrics(torch.tensor([0.0, 1.0]), torch.tensor([True, False]), torch.arange(2), num_bins=10)
    assert values["nll"] == pytest.approx(-math.log(LOWEST_PROBABILITY))


def test_the_skill_is_zero_for_the_base_rate_and_one_for_perfection():
    assert brier_skill_score(0.21, base_rate=0.3) == pytest.approx(0.0)
    assert brier_skill_score(0.0, base_rate=0.3) == 1.0
    assert math.isnan(brier_skill_score(0.0, base_rate=0.0))


@pytest.mark.parametrize(
    ("risk", "labels", "num_bins", "message"),
    [
        (torch.tensor([-0.1]), torch.tensor([True]), 5, r"`risk` must lie in \[0, 1\]"),
        (torch.tensor([1.5]), torch.tensor([True]), 5, r"`risk` must lie in \[0, 1\]"),
        (torch.tensor([float("nan")]), torch.tensor([True]), 5, r"`risk` must lie in \[0, 1\]"),
        (torch.tensor([0.5]), torch.tensor([1]), 5, "boolean `labels`"),
        (torch.tensor([0.5]), torch.tensor([True, False]), 5, "must have one shape"),
        (torch.tensor([0.5]), torch.tensor([True]), 0, "`num_bins` must be at least 1, got 0"),
    ],
)
def test_bad_input_raises(risk: Tensor, labels: Tensor, num_bins: int, message: str):
    with pytest.raises(ValueError, match=message):
        risk_metrics(risk, labels, torch.arange(len(labels)), num_bins=num_bins)
