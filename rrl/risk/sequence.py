"""A recurrent risk predictor: reads the last observations of the episode, not the newest alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rrl.risk.networks import fit_risk_network
from rrl.risk.predictors import RiskPredictor


class GRURiskModel(RiskPredictor):
    """A gated recurrent unit over the last ``L`` observations, for failures that one observation does not announce.

    It is run anew over each short history instead of carrying a memory along. A prediction then is a function of what
    it is given, so that training, gating and checkpoints cannot disagree about a hidden state.

    Args:
        obs_dim: Observation size ``O``.
        history: Number of observations ``L`` that one prediction reads, at least 1.
        hidden_size: Size of the memory.
        num_updates: Gradient steps of one fit, at least 1: the cost does not grow with the data.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(self, obs_dim: int, *, history: int = 8, hidden_size: int = 32, num_updates: int = 300) -> None:
        super().__init__(obs_dim, squares=False)
        for name, value in (("history", history), ("hidden_size", hidden_size), ("num_updates", num_updates)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        self.history = history
        self.num_updates = num_updates
        self.network = RecurrentClassifier(self.num_features, hidden_size)

    def fit_features(self, features: Tensor, labels: Tensor, *, generator: torch.Generator) -> None:
        """Train the network on histories ``[M, L, F]`` and labels ``[M]``."""
        fit_risk_network(self.network, features, labels, generator=generator, num_updates=self.num_updates)

    def logits(self, features: Tensor) -> Tensor:
        """Apply the network to histories ``[..., L, F]``."""
        logits: Tensor = self.network(features.reshape(-1, *features.shape[-2:]))
        return logits.view(features.shape[:-2])


class RecurrentClassifier(nn.Module):
    """Map sequences to one logit each, from the memory after their last row.

    Args:
        num_features: Size ``F`` of a row.
        hidden_size: Size of the memory.
    """

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(num_features, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Classify sequences ``[B, L, F]`` into logits ``[B, 1]``."""
        memory: Tensor = self.recurrent(features)[0][:, -1]
        logits: Tensor = self.readout(memory)
        return logits
