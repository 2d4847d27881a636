"""Risk predictors: from an observation to the logit of the probability of failing soon. Here, the linear ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least, require_not_negative, require_tensor
from rrl.risk.scaling import fit_logistic_newton, fit_logistic_sgd

FEATURE_BOUND = 10.0
"""Standardised observations are clipped here, so that one wild observation cannot produce an infinite logit."""


class RiskPredictor(nn.Module, ABC):
    r"""A model that is fitted to labelled states and returns risk logits, not yet calibrated.

    Life cycle: `fit` again and again, each time on the whole current data set; ``forward`` at any time. Data that hold
    one class only, or none, cannot be learnt from: the model then is `degenerate` and answers with the constant rate
    :math:`(1 + \text{positives}) / (2 + M)`, the posterior mean under a uniform Beta(1, 1) prior.

    A predictor reads observations ``[..., O]``, or, where `history` is a number ``L``, the last ``L`` observations of
    the episode, ``[..., L, O]`` (see `rrl.risk.dataset.stack_history`).

    With ``squares``, ``[s, s^2]`` are features: a linear model then can see that falling to either side is the same.
    Squared is the *standardised* observation: this spans the same functions, but stays well conditioned where an
    observation varies little about a large mean.
    """

    degenerate: Tensor
    """True where the last fit saw fewer than two classes (also before the first fit). Boolean scalar."""
    base_rate_logit: Tensor
    """Logit of the constant rate that a degenerate model returns. Scalar."""
    feature_mean: Tensor
    """Mean of each feature at the last fit: of the observation, then of its standardised square. Shape ``[F]``."""
    feature_std: Tensor
    """Standard deviation of each feature at the last fit; 1 where a feature was constant. Shape ``[F]``."""
    history: int | None = None
    """Number of observations that one prediction reads; None where it reads the state alone."""

    def __init__(self, obs_dim: int, *, squares: bool = False) -> None:
        super().__init__()
        require_at_least(1, obs_dim=obs_dim)
        self.obs_dim, self.squares = obs_dim, squares
        self.num_features = 2 * obs_dim if squares else obs_dim
        self.register_buffer("degenerate", torch.tensor(True))
        self.register_buffer("base_rate_logit", torch.tensor(0.0))
        self.register_buffer("feature_mean", torch.zeros(self.num_features))
        self.register_buffer("feature_std", torch.ones(self.num_features))

    def fit(self, observations: Tensor, labels: Tensor, *, generator: torch.Generator) -> None:
        """Fit the model to raw observations ``[M, O]`` or ``[M, L, O]`` and boolean labels ``[M]``.

        Without class weights: they would break the calibration. Every random choice comes from the generator, on the
        CPU: same data and same state, same model.
        """
        self._check(observations)
        require_tensor("bool", observations.shape[:1], labels=labels)
        if not observations.isfinite().all():
            raise ValueError("`observations` must be finite, got an infinite or undefined value.")
        positives, samples = int(labels.sum()), labels.numel()
        self.degenerate.fill_(positives in {0, samples})
        self.base_rate_logit.fill_((1 + positives) / (2 + samples)).logit_()
        if not self.degenerate:
            self.fit_features(self._standardize(observations), labels, generator=generator)

    def forward(self, observations: Tensor) -> Tensor:
        """Predict the risk logit ``[...]``, not calibrated, of raw observations ``[..., O]`` or ``[..., L, O]``."""
        self._check(observations)
        logits = self.logits(self.features(observations))
        return torch.where(self.degenerate, self.base_rate_logit.to(logits), logits)

    def features(self, observations: Tensor) -> Tensor:
        """Compute the standardised, clipped features ``[..., F]`` of observations."""
        linear = self._linear_features(observations)
        return self._with_squares(linear, linear.square()) if self.squares else linear

    @abstractmethod
    def fit_features(self, features: Tensor, labels: Tensor, *, generator: torch.Generator) -> None:
        """Fit the model to standardised features ``[M, ..., F]`` and labels ``[M]`` that hold both classes."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Predict risk logits ``[...]`` from standardised features ``[..., F]`` (``[..., L, F]``)."""

    def _standardize(self, observations: Tensor) -> Tensor:
        """Set means and standard deviations from observations ``[M, ..., O]``, and return their features."""
        size = self.obs_dim
        self.feature_mean[:size], self.feature_std[:size] = _moments(observations.to(self.feature_mean))
        linear = self._linear_features(observations)
        if not self.squares:
            return linear
        squared = linear.square()
        self.feature_mean[size:], self.feature_std[size:] = _moments(squared)
        return self._with_squares(linear, squared)

    def _linear_features(self, observations: Tensor) -> Tensor:
        centred = observations.to(self.feature_mean) - self.feature_mean[: self.obs_dim]
        return centred.div_(self.feature_std[: self.obs_dim]).clamp_(-FEATURE_BOUND, FEATURE_BOUND)

    def _with_squares(self, linear: Tensor, squared: Tensor) -> Tensor:
        """Standardise the squares, in place, and put them behind the linear features."""
        squared.sub_(self.feature_mean[self.obs_dim :]).div_(self.feature_std[self.obs_dim :])
        return torch.cat([linear, squared], dim=-1)

    def _check(self, observations: Tensor) -> None:
        expected = [self.obs_dim] if self.history is None else [self.history, self.obs_dim]
        if list(observations.shape[-len(expected) :]) != expected:
            raise ValueError(f"`observations` must have a shape ending in {expected}, got {list(observations.shape)}.")


class Predictor(ABC):
    """Settings of a risk predictor."""

    @abstractmethod
    def build(self, obs_dim: int) -> RiskPredictor:
        """Build the predictor of observations of size ``O``, not fitted."""


Fit = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]
"""Features ``[M, F]``, labels ``[M]``, the last coefficients and a generator -> new coefficients ``[F + 1]``."""


class LogisticRiskModel(RiskPredictor):
    r"""Logistic regression on the standardised observation, the paper's risk model.

    .. math::
        r_\theta(s) = \sigma(w^\top \phi(s) + b), \qquad \phi(s) = s \;\text{or}\; [s, s^2]

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, section 3.2. They do not
        standardise; raw features of different units would need a step size each.
    """

    coefficients: Tensor
    """Weights followed by the bias. Shape ``[F + 1]``, float64."""

    def __init__(self, obs_dim: int, *, squares: bool, fit: Fit) -> None:
        super().__init__(obs_dim, squares=squares)
        self._fit = fit
        self.register_buffer("coefficients", torch.zeros(self.num_features + 1, dtype=torch.float64))

    def fit_features(self, features: Tensor, labels: Tensor, *, generator: torch.Generator) -> None:
        """Fit weights and bias."""
        self.coefficients.copy_(self._fit(features, labels, self.coefficients, generator))

    def logits(self, features: Tensor) -> Tensor:
        """Apply the linear model."""
        coefficients = self.coefficients.to(features)
        return features @ coefficients[:-1] + coefficients[-1]


@dataclass(frozen=True, kw_only=True)
class Logistic(Predictor):
    """Logistic regression, fitted to convergence by Newton's method."""

    squares: bool = True
    """Whether squares are features as well; False in the paper."""
    l2: float = 1e-4
    """Penalty on the weights, at least 0. Keeps separable data from infinite weights."""

    def __post_init__(self) -> None:
        require_not_negative(l2=self.l2)

    def build(self, obs_dim: int) -> RiskPredictor:
        """Build a `LogisticRiskModel`."""
        return LogisticRiskModel(obs_dim, squares=self.squares, fit=self._fit)

    def _fit(self, features: Tensor, labels: Tensor, last: Tensor, generator: torch.Generator) -> Tensor:
        return fit_logistic_newton(features, labels, l2=self.l2, initial=last)


@dataclass(frozen=True, kw_only=True)
class StochasticLogistic(Predictor):
    """Logistic regression, fitted by stochastic gradients that continue from the last fit, as in the paper."""

    squares: bool = False
    """Whether squares are features as well; False in the paper."""

    def build(self, obs_dim: int) -> RiskPredictor:
        """Build a `LogisticRiskModel`."""
        return LogisticRiskModel(obs_dim, squares=self.squares, fit=fit_logistic_sgd)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column of ``[..., F]``; 1 for the deviation of a constant column."""
    deviation, mean = torch.std_mean(values.flatten(0, -2), dim=0, correction=0)
    # Dividing by the rounding error of a constant feature would turn that error into the largest feature.
    constant = deviation <= 1e-6 * mean.abs().clamp(min=1e-2)
    return mean, torch.where(constant, 1.0, deviation)
