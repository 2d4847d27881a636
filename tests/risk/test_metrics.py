"""Risk metrics against scikit-learn."""

import math

import pytest
import torch
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from torch import Tensor

from rrl.risk.metrics import LOWEST_PROBABILITY, BrierScore, NegativeLogLikelihood, brier_skill_score, risk_metrics


def _data(seed: int = 0, num_samples: int = 500) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risk = torch.rand(num_samples, generator=generator)
    return risk, torch.rand(num_samples, generator=generator) < risk, torch.arange(num_samples) // 50


def test_the_collection_agrees_with_scikit_learn_over_several_updates():
    metrics = risk_metrics(num_bins=10)
    parts = [_data(0), _data(1)]
    for risk, labels, ids in parts:
        metrics.update(risk, labels, trajectory_ids=ids)
    risk, labels = (torch.cat([part[i] for part in parts]).numpy() for i in range(2))
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert values["risk/brier"] == pytest.approx(brier_score_loss(labels, risk), abs=1e-6)
    assert values["risk/nll"] == pytest.approx(log_loss(labels, risk), abs=1e-6)
    assert values["risk/auroc"] == pytest.approx(roc_auc_score(labels, risk), abs=1e-6)
    assert values["risk/average_precision"] == pytest.approx(average_precision_score(labels, risk), abs=1e-6)
    assert values["risk/base_rate"] == pytest.approx(labels.mean())
    assert values["risk/num_trajectories"] == 20


def test_the_collection_holds_the_registered_names():
    metrics = risk_metrics(num_bins=10)
    metrics.update(*_data()[:2], trajectory_ids=_data()[2])
    names = {"brier", "nll", "ece", "ece_equal_mass", "auroc", "average_precision", "base_rate", "num_trajectories"}
    assert set(metrics.compute()) == {f"risk/{name}" for name in names}


@pytest.mark.parametrize("outcome", [False, True])
def test_ranking_is_undefined_for_one_class_and_says_so(outcome: bool):
    metrics = risk_metrics(num_bins=10)
    risk, _, ids = _data()
    metrics.update(risk, torch.full((500,), outcome), trajectory_ids=ids)
    values = metrics.compute()
    assert values["risk/auroc"].isnan()
    assert values["risk/average_precision"].isnan()
    assert values["risk/brier"].isfinite()


def test_a_rollout_without_known_labels_is_undefined_and_no_error():
    metrics = risk_metrics(num_bins=10)
    metrics.update(torch.zeros(0), torch.zeros(0, dtype=torch.bool), trajectory_ids=torch.zeros(0).long())
    values = metrics.compute()
    assert values.pop("risk/num_trajectories") == 0
    assert all(value.isnan() for value in values.values())


def test_a_certain_error_keeps_the_likelihood_finite():
    metric = NegativeLogLikelihood()
    metric.update(torch.tensor([0.0, 1.0]), torch.tensor([True, False]))
    assert float(metric.compute()) == pytest.approx(-math.log(LOWEST_PROBABILITY))


def test_the_mean_is_exact_over_many_batches():
    metric, (risk, labels, _) = BrierScore(), _data()
    for start in range(0, 500, 7):
        metric.update(risk[start : start + 7], labels[start : start + 7])
    assert float(metric.compute()) == pytest.approx(float((risk.double() - labels.double()).square().mean()), rel=1e-12)


def test_the_skill_is_zero_for_the_base_rate_and_one_for_perfection():
    assert brier_skill_score(0.21, base_rate=0.3) == pytest.approx(0.0)
    assert brier_skill_score(0.0, base_rate=0.3) == 1.0
    assert math.isnan(brier_skill_score(0.0, base_rate=0.0))


def test_bad_predictions_raise():
    with pytest.raises(ValueError, match=r"`preds` must lie in \[0, 1\]"):
        BrierScore().update(torch.tensor([-0.1]), torch.tensor([True]))
