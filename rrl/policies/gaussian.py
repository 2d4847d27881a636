"""The Gaussian policy of all players."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from rrl.policies.networks import Activation, mlp


class GaussianPolicy(nn.Module):
    """A diagonal Gaussian whose mean is a network of the observation and whose spread is a learnt constant.

    Args:
        obs_dim: Observation size, ``O``.
        action_dim: Action size, ``A``.
        hidden_sizes: Widths of the hidden layers.
        activation: ``"tanh"`` or ``"silu"``.
        initial_log_std: Logarithm of the initial standard deviation, in units of action.
    """

    log_std: Tensor
    """Logarithm of the standard deviation, independent of the state. Parameter, shape ``[A]``."""

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        initial_log_std: float = 0.0,
    ) -> None:
        super().__init__()
        self.mean = mlp(obs_dim, hidden_sizes, action_dim, activation=activation, output_gain=0.01)
        self.log_std = nn.Parameter(torch.full((action_dim,), float(initial_log_std)))

    def forward(self, observations: Tensor) -> Independent[Normal]:
        """Return the distribution of actions.

        Args:
            observations: Normalised observations. Shape ``[..., O]``.

        Returns:
            The distribution, batch shape ``[...]``, event shape ``[A]``; differentiable in the parameters.
        """
        mean = self.mean(observations)
        return Independent(
            Normal(mean, self.log_std.exp().expand_as(mean), validate_args=False), 1, validate_args=False
        )
