"""Neural risk predictors of single states: a multilayer perceptron and a deep ensemble of them."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from rrl.risk.predictors import RiskPredictor


def fit_risk_network(
    network: nn.Module,
    features: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    num_updates: int,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
) -> None:
    """Train a network on the cross-entropy from new random weights.

    Weights are drawn anew, so that the result is a function of data and generator alone, and so that a network does
    not lose its plasticity over a hundred refits.

    Args:
        network: Maps features ``[B, ..., F]`` to logits ``[B, 1]``. Its weights are replaced.
        features: Standardised features. Shape ``[M, ..., F]``.
        labels: True where the state led to a failure. Boolean, shape ``[M]``.
        generator: Source of the weights and of the order of the samples, on the CPU.
        num_updates: Gradient steps.
        batch_size: Samples in a gradient, drawn with replacement.
        learning_rate: Step size of AdamW.
        weight_decay: Weight decay of AdamW.
    """
    _draw_weights(network, generator)
    targets = labels.to(features.dtype)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    for _ in range(num_updates):
        batch = torch.randint(targets.numel(), (batch_size,), generator=generator).to(targets.device)
        with torch.enable_grad():
            loss = binary_cross_entropy_with_logits(network(features[batch]).squeeze(-1), targets[batch])
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
    # The gradients are of no use any more; optimisers of the surrounding module shall not see them.
    network.zero_grad(set_to_none=True)


class MLPRiskModel(RiskPredictor):
    """A small multilayer perceptron on the standardised observation.

    Args:
        obs_dim: Observation size ``O``.
        hidden_sizes: Width of each hidden layer.
        num_updates: Gradient steps of one fit, at least 1: the cost does not grow with the data.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(self, obs_dim: int, *, hidden_sizes: tuple[int, ...] = (32, 32), num_updates: int = 400) -> None:
        super().__init__(obs_dim, squares=False)
        _check_updates(num_updates)
        self.num_updates = num_updates
        self.network = risk_mlp(self.num_features, hidden_sizes)

    def fit_features(self, features: Tensor, labels: Tensor, *, generator: torch.Generator) -> None:
        """Train the network on features ``[M, F]`` and labels ``[M]``."""
        fit_risk_network(self.network, features, labels, generator=generator, num_updates=self.num_updates)

    def logits(self, features: Tensor) -> Tensor:
        """Apply the network to features ``[..., F]``."""
        logits: Tensor = self.network(features)
        return logits.squeeze(-1)


class EnsembleRiskModel(RiskPredictor):
    """A deep ensemble: the mean probability of networks that differ in their weights and in the order of the data.

    Args:
        obs_dim: Observation size ``O``.
        num_members: Number of networks, at least 2.
        hidden_sizes: Width of each hidden layer.
        num_updates: Gradient steps of one fit, at least 1: the cost does not grow with the data.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
        ensembles", NeurIPS 2017; without their adversarial training.
    """

    def __init__(
        self, obs_dim: int, *, num_members: int = 5, hidden_sizes: tuple[int, ...] = (32, 32), num_updates: int = 400
    ) -> None:
        super().__init__(obs_dim, squares=False)
        _check_updates(num_updates)
        if num_members < 2:
            raise ValueError(f"`num_members` must be at least 2, got {num_members}.")
        self.num_updates = num_updates
        self.members = nn.ModuleList(risk_mlp(self.num_features, hidden_sizes) for _ in range(num_members))

    def fit_features(self, features: Tensor, labels: Tensor, *, generator: torch.Generator) -> None:
        """Train every member on all features ``[M, F]`` and labels ``[M]``."""
        for member in self.members:
            fit_risk_network(member, features, labels, generator=generator, num_updates=self.num_updates)

    def logits(self, features: Tensor) -> Tensor:
        """Return the logit of the members' mean probability for features ``[..., F]``."""
        logits = torch.stack([member(features).squeeze(-1) for member in self.members])
        # log(mean p) - log(mean (1 - p)) in the log domain: no member can saturate the mean to an infinite logit.
        log_risk = logsigmoid(logits).logsumexp(0)
        return log_risk - logsigmoid(-logits).logsumexp(0)


def risk_mlp(num_features: int, hidden_sizes: tuple[int, ...]) -> nn.Sequential:
    """Build a perceptron with SiLU activations that maps ``[..., F]`` to ``[..., 1]``.

    Args:
        num_features: Input size ``F``.
        hidden_sizes: Width of each hidden layer.

    Returns:
        The network, with PyTorch's initial weights.

    Raises:
        ValueError: If a width is smaller than 1.
    """
    if any(size < 1 for size in hidden_sizes):
        raise ValueError(f"`hidden_sizes` must be at least 1 each, got {hidden_sizes}.")
    sizes = (num_features, *hidden_sizes)
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


def _check_updates(num_updates: int) -> None:
    if num_updates < 1:
        raise ValueError(f"`num_updates` must be at least 1, got {num_updates}.")
