"""Risk predictors: the protocol that all keep, and logistic regression against scikit-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from rrl.risk.networks import GRU, MLP
from rrl.risk.predictors import FEATURE_BOUND, Logistic, RiskPredictor, StochasticLogistic

PREDICTORS = {
    "logistic": lambda: Logistic().build(3),
    "sgd": lambda: StochasticLogistic().build(3),
    "mlp": lambda: MLP(hidden_sizes=(16,), num_updates=150).build(3),
    "ensemble": lambda: MLP(num_members=2, hidden_sizes=(16,), num_updates=150).build(3),
    "gru": lambda: GRU(history=4, hidden_size=8, num_updates=150).build(3),
}
every_predictor = pytest.mark.parametrize("make", PREDICTORS.values(), ids=PREDICTORS.keys())


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _data(model: RiskPredictor, num_samples: int = 2000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Failure is the more likely the larger the first feature of the newest observation, in wild units."""
    shape = (num_samples, 3) if model.history is None else (num_samples, model.history, 3)
    observations = torch.randn(shape, generator=_generator(seed))
    newest = observations if model.history is None else observations[:, -1]
    labels = torch.rand(num_samples, generator=_generator(seed + 1)) < torch.sigmoid(3.0 * newest[:, 0] - 1.0)
    return observations * torch.tensor([1e3, 1.0, 1e-3]) + torch.tensor([50.0, 0.0, 1.0]), labels


@every_predictor
def test_a_fit_finds_the_dangerous_states(make: Callable[[], Any]):
    model = make()
    model.fit(*_data(model), generator=_generator())
    observations, labels = _data(model, seed=7)
    assert binary_auroc(model(observations).sigmoid(), labels.long()) > 0.85


@every_predictor
def test_the_same_data_and_generator_give_the_same_model(make: Callable[[], Any]):
    first, second = make(), make()
    for model in (first, second):
        model.fit(*_data(model, num_samples=200), generator=_generator(3))
    assert torch.equal(first(_data(first)[0]), second(_data(first)[0]))


@every_predictor
def test_a_checkpoint_loads_into_a_new_model(make: Callable[[], Any]):
    fitted, copy = make(), make()
    fitted.fit(*_data(fitted, num_samples=200), generator=_generator())
    copy.load_state_dict(fitted.state_dict())
    assert torch.equal(fitted(_data(fitted)[0]), copy(_data(fitted)[0]))


@every_predictor
@pytest.mark.parametrize("outcome", [False, True])
def test_one_class_gives_the_flagged_constant_rate_with_a_uniform_prior(make: Callable[[], Any], outcome: bool):
    model = make()
    observations, _ = _data(model, num_samples=8)
    model.fit(observations, torch.full((8,), outcome), generator=_generator())
    assert model.degenerate
    assert torch.allclose(model(observations).sigmoid(), torch.tensor(0.9 if outcome else 0.1))


@every_predictor
def test_two_classes_after_one_lift_the_flag(make: Callable[[], Any]):
    model = make()
    observations, labels = _data(model, num_samples=300)
    model.fit(observations, torch.zeros(300, dtype=torch.bool), generator=_generator())
    model.fit(observations, labels, generator=_generator())
    assert not model.degenerate
    assert model(observations).std() > 0


@every_predictor
def test_before_the_first_fit_the_risk_is_one_half(make: Callable[[], Any]):
    model = make()
    assert torch.equal(model(_data(model)[0]).sigmoid(), torch.full((2000,), 0.5))


@every_predictor
def test_leading_dimensions_are_kept(make: Callable[[], Any]):
    model = make()
    observations, labels = _data(model, num_samples=200)
    model.fit(observations, labels, generator=_generator())
    logits = model(observations)
    assert torch.allclose(model(observations.unflatten(0, (20, 10))), logits.view(20, 10), atol=1e-5)
    assert torch.allclose(model(observations[0]), logits[0], atol=1e-5)


@every_predictor
def test_a_constant_feature_and_a_wild_observation_keep_the_logit_finite(make: Callable[[], Any]):
    model = make()
    observations, labels = _data(model, num_samples=300)
    observations[..., 2] = 7.1
    model.fit(observations, labels, generator=_generator())
    wild = observations[:5].clone()
    wild[..., 2] = 7.1000005
    assert torch.allclose(model(wild), model(observations[:5]), atol=1e-3)
    assert model(1e12 * torch.ones_like(wild)).isfinite().all()


@every_predictor
def test_a_fit_works_without_gradients_and_leaves_none(make: Callable[[], Any]):
    model = make()
    with torch.no_grad():
        model.fit(*_data(model, num_samples=100), generator=_generator())
    assert all(parameter.grad is None for parameter in model.parameters())


@every_predictor
def test_bad_data_raise(make: Callable[[], Any]):
    model = make()
    observations, labels = _data(model, num_samples=10)
    with pytest.raises(ValueError, match="`labels` must be boolean with shape"):
        model.fit(observations, labels.float(), generator=_generator())
    with pytest.raises(ValueError, match="`labels` must be boolean with shape"):
        model.fit(observations, labels[:-1], generator=_generator())
    with pytest.raises(ValueError, match="`observations` must have a shape ending in"):
        model(observations[..., :2])
    with pytest.raises(ValueError, match="`observations` must be finite"):
        model.fit(observations * float("nan"), labels, generator=_generator())


@pytest.mark.parametrize("l2", [1e-1, 1e-4])
def test_logistic_regression_agrees_with_scikit_learn(l2: float):
    model = Logistic(l2=l2).build(3)
    observations, labels = _data(model)
    model.fit(observations, labels, generator=_generator())
    raw = observations.double().numpy()
    linear = np.clip((raw - raw.mean(0)) / raw.std(0), -FEATURE_BOUND, FEATURE_BOUND)
    features = np.concatenate([linear, (linear**2 - (linear**2).mean(0)) / (linear**2).std(0)], axis=1)
    reference = LogisticRegression(C=1.0 / (l2 * len(labels)), tol=1e-10, max_iter=1000).fit(features, labels)
    expected = np.append(reference.coef_[0], reference.intercept_)
    assert np.allclose(model.coefficients, expected, atol=2e-3)


def test_stochastic_descent_approaches_the_converged_fit():
    converged = Logistic(squares=False).build(3)
    descended = StochasticLogistic().build(3)
    observations, labels = _data(converged)
    converged.fit(observations, labels, generator=_generator())
    for _ in range(60):  # continues where it stopped
        descended.fit(observations, labels, generator=_generator())
    assert torch.allclose(descended.coefficients, converged.coefficients, atol=0.1)


def test_squares_see_a_failure_to_either_side():
    angles = torch.randn(2000, 1, generator=_generator())
    labels = angles[:, 0].abs() > 1.0
    areas = []
    for squares in (False, True):
        model = Logistic(squares=squares).build(1)
        model.fit(angles, labels, generator=_generator())
        areas.append(float(binary_auroc(model(angles).sigmoid(), labels.long())))
    assert areas[0] < 0.65
    assert areas[1] > 0.99


def test_logistic_logits_are_calibrated_in_the_large():
    model = Logistic().build(3)
    observations, labels = _data(model)
    model.fit(observations, labels, generator=_generator())
    assert float(model(observations).sigmoid().mean()) == pytest.approx(float(labels.double().mean()), abs=1e-4)


def test_an_ensemble_returns_the_mean_probability_of_its_members():
    model = MLP(num_members=3).build(3)
    model.fit(*_data(model, num_samples=100), generator=_generator())
    features = torch.randn(9, 3, generator=_generator())
    members = torch.stack([member(features).squeeze(-1).sigmoid() for member in model.members])
    assert torch.allclose(model.logits(features).sigmoid(), members.mean(0), atol=1e-6)
    assert members.std(0).max() > 0


def test_a_recurrent_model_sees_what_one_observation_does_not_show():
    """The label is whether the observation rises; its level says nothing."""
    model = GRU(history=4, hidden_size=8, num_updates=200).build(1)
    direction = torch.rand(600, generator=_generator()) < 0.5
    slope = torch.where(direction, 1.0, -1.0)
    steps = torch.tensor([-3.0, -2.0, -1.0, 0.0])
    level = torch.randn(600, generator=_generator(1))
    histories = (level[:, None] + 0.5 * slope[:, None] * steps).unsqueeze(-1)
    model.fit(histories, direction, generator=_generator())
    assert binary_auroc(model(histories).sigmoid(), direction.long()) > 0.95


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Logistic().build(0), "`obs_dim` must be at least 1"),
        (lambda: Logistic(l2=-1.0), "`l2` must be at least 0"),
        (lambda: MLP(num_updates=0), "`num_updates` must be at least 1"),
        (lambda: MLP(hidden_sizes=(0,)), "`hidden_sizes` must be at least 1"),
        (lambda: MLP(num_members=0), "`num_members` must be at least 1"),
        (lambda: GRU(history=0), "`history` must be at least 1"),
    ],
)
def test_bad_arguments_raise(make: Callable[[], Any], message: str):
    with pytest.raises(ValueError, match=message):
        make()
