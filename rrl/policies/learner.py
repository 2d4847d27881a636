"""The settings of a player: its networks, its value function, and how far it looks ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rrl.checks import require_at_least, require_positive, require_within
from rrl.policies.networks import Activation


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What a player is made of and how it judges; shared by both players of a game."""

    hidden_sizes: Sequence[int] = (64, 64)
    """Widths of the hidden layers of policy and value function."""
    activation: Activation = "tanh"
    initial_log_std: float = 0.0
    """Logarithm of the policy's initial standard deviation, in units of action."""
    gamma: float = 0.99
    """Discount, in ``[0, 1]``."""
    gae_lambda: float = 0.95
    """Weight of longer returns in the advantages, in ``[0, 1]``."""
    value_learning_rate: float = 1e-3
    """Adam's step size for the value function."""
    value_epochs: int = 10
    """Passes over the batch for the value function."""
    value_batch_size: int = 256
    """Samples of one gradient step of the value function."""

    def __post_init__(self) -> None:
        require_within("[0, 1]", gamma=self.gamma, gae_lambda=self.gae_lambda)
        require_positive(value_learning_rate=self.value_learning_rate)
        require_at_least(1, value_epochs=self.value_epochs, value_batch_size=self.value_batch_size)
        for size in self.hidden_sizes:
            require_at_least(1, hidden_sizes=size)
        if not abs(self.initial_log_std) <= 20.0:
            raise ValueError(f"`initial_log_std` must lie in [-20, 20], got {self.initial_log_std}.")
