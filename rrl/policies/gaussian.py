"""The Gaussian policy of all players."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from rrl.policies.networks import Activation, Backpropagation, mlp


class GaussianPolicy(nn.Module):
    """A diagonal Gaussian whose mean is a network of the observation and whose spread is a learnt constant."""

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
        """Return the distribution of actions, event shape ``[A]``, at normalised observations ``[..., O]``."""
        mean = self.mean(observations)
        return Independent(
            Normal(mean, self.log_std.exp().expand_as(mean), validate_args=False), 1, validate_args=False
        )

    @torch.no_grad()
    def fisher_product(self, observations: Tensor, shares: Tensor) -> Callable[[Tensor], Tensor]:
        r"""Return the product with the Fisher matrix, the Hessian of the mean KL divergence at these parameters.

        With :math:`J_n` the Jacobian of the mean action, the block of the mean's parameters is
        :math:`\sum_n w_n J_n^T \Sigma^{-1} J_n`, and that of the logarithms of the deviations is
        :math:`2 \sum_n w_n I`; between the two it is 0.

        Observations ``[N, O]`` are normalised, :math:`w_n` the samples' shares ``[N]``. The product takes ``[P]`` to
        ``[P]``, in the order of ``parameters()``, and is valid until these change.
        """
        derivatives = Backpropagation(self.mean)
        trace = derivatives.forward(observations)
        precision = shares.unsqueeze(-1) * (-2.0 * self.log_std).exp()
        total = shares.sum()

        def product(vector: Tensor) -> Tensor:
            # A module's own parameters come before those of its parts.
            log_std, mean = vector.tensor_split([len(self.log_std)])
            pulled = derivatives.pull(trace, precision * derivatives.push(trace, mean))
            return torch.cat([2.0 * total * log_std, *(gradient.reshape(-1) for gradient in pulled)])

        return product
