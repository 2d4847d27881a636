"""Neural risk predictors: a multilayer perceptron, a deep ensemble of them, and one that reads histories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from rrl.checks import require_at_least
from rrl.risk.predictors import Predictor, RiskPredictor

BATCH_SIZE = 256


def fit_risk_network(
    network: nn.Module,
    features: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    num_updates: int,
) -> None:
    """Train a network, ``[B, ..., F]`` to logits ``[B, 1]``, on the cross-entropy from new random weights.

    Weights are drawn anew, so that the result is a function of data and generator alone, and so that a network does
    not lose its plasticity over a hundred refits. Samples are drawn with replacement.
    """
    _draw_weights(network, generator)
    targets = labels.to(features.dtype)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(num_updates):
        batch = torch.randint(targets.numel(), (BATCH_SIZE,), generator=generator).to(targets.device)
        with torch.enable_grad():
            loss = binary_cross_entropy_with_logits(network(features[batch]).squeeze(-1), targets[batch])
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
    # The gradients are of no use any more; optimisers of the surrounding module shall not see them.
    network.zero_grad(set_to_none=True)


@dataclass(frozen=True, kw_only=True)
class MLP(Predictor):
    """Small multilayer perceptrons on the standardised observation."""

    hidden_sizes: tuple[int, ...] = (32, 32)
    """Width of each hidden layer."""
    num_updates: int = 400
    """Gradient steps of one fit: the cost does not grow with the data."""
    num_members: int = 1
    """Number of perceptrons. Several are a deep ensemble: their mean probability is the risk."""

    def __post_init__(self) -> None:
        for size in self.hidden_sizes:
            require_at_least(1, hidden_sizes=size)
        require_at_least(1, num_updates=self.num_updates, num_members=self.num_members)

    def build(self, obs_dim: int) -> RiskPredictor:
        """Build an `MLPRiskModel`."""
        return MLPRiskModel(obs_dim, self)


class MLPRiskModel(RiskPredictor):
    """Perceptrons that differ in their weights and in the order of the data; their mean probability is the risk.

    References:
        Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
        ensembles", NeurIPS 2017; without their adversarial training.
    """

    def __init__(self, obs_dim: int, settings: MLP) -> None:
        super().__init__(obs_dim)
        self.num_updates = settings.num_updates
        sizes = self.num_features, *settings.hidden_sizes
        self.members = nn.ModuleList(risk_mlp(sizes) for _ in range(settings.num_members))

    def fit_features(self, features: Tensor, labels: Tensor, *, generator: torch.Generator) -> None:
        """Train every member on all data."""
        for member in self.members:
            fit_risk_network(member, features, labels, generator=generator, num_updates=self.num_updates)

    def logits(self, features: Tensor) -> Tensor:
        """Return the logit of the members' mean probability."""
        logits = torch.stack([member(features).squeeze(-1) for member in self.members])
        if len(logits) == 1:
            return logits[0]
        # log(mean p) - log(mean (1 - p)) in the log domain: no member can saturate the mean to an infinite logit.
        log_risk = logsigmoid(logits).logsumexp(0)
        return log_risk - logsigmoid(-logits).logsumexp(0)


@dataclass(frozen=True, kw_only=True)
class GRU(Predictor):
    """A gated recurrent unit over the last ``L`` observations, for failures that one observation does not announce."""

    history: int = 8
    """Number of observations ``L`` that one prediction reads."""
    hidden_size: int = 32
    """Size of the memory."""
    num_updates: int = 400
    """Gradient steps of one fit: the cost does not grow with the data."""

    def __post_init__(self) -> None:
        require_at_least(1, history=self.history, hidden_size=self.hidden_size, num_updates=self.num_updates)

    def build(self, obs_dim: int) -> RiskPredictor:
        """Build a `GRURiskModel`."""
        return GRURiskModel(obs_dim, self)


class GRURiskModel(RiskPredictor):
    """A recurrent unit that is run anew over each short history instead of carrying a memory along.

    A prediction then is a function of what it is given: training, gating and checkpoints cannot disagree about a hidden
    state.
    """

    def __init__(self, obs_dim: int, settings: GRU) -> None:
        super().__init__(obs_dim)
        self.history, self.num_updates = settings.history, settings.num_updates
        self.network = RecurrentClassifier(self.num_features, settings.hidden_size)

    def fit_features(self, features: Tensor, labels: Tensor, *, generator: torch.Generator) -> None:
        """Train the network on histories ``[M, L, F]``."""
        fit_risk_network(self.network, features, labels, generator=generator, num_updates=self.num_updates)

    def logits(self, features: Tensor) -> Tensor:
        """Apply the network to histories ``[..., L, F]``."""
        logits: Tensor = self.network(features.reshape(-1, *features.shape[-2:]))
        return logits.view(features.shape[:-2])


class RecurrentClassifier(nn.Module):
    """Map sequences to one logit each, from the memory after their last row."""

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(num_features, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Classify sequences ``[B, L, F]`` into logits ``[B, 1]``."""
        logits: Tensor = self.readout(self.recurrent(features)[0][:, -1])
        return logits


def risk_mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    """Build a perceptron with SiLU activations after layers of these sizes, and one output."""
    layers: list[nn.Module] = []
    for size, next_size in pairwise(sizes):
        layers += [nn.Linear(size, next_size), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))


@torch.no_grad()
def _draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights uniformly within one over the root of the fan-in, biases zero."""
    for parameter in network.parameters():
        if parameter.ndim < 2:
            parameter.zero_()
            continue
        bound = 1.0 / math.sqrt(parameter.shape[1])
        parameter.copy_(torch.rand(parameter.shape, generator=generator).mul_(2 * bound).sub_(bound))
