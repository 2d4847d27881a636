"""Which part of a window's gain its start and its actions do not explain: the conditional quantile ``u``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rrl.diffusion.residual_mlp import ResidualBlock, ResidualSizes

QUANTILE_FEATURES = 2
"""Numbers by which a quantile is told."""


class QuantileNetwork(nn.Module):
    r"""Learns the law of a window's gain, given its start state and its actions, by the quantiles at ``k / N``.

    By the probability integral transform the quantile :math:`u = F(z \mid s_0, a)` of what really happened is uniform
    on (0, 1) and independent of start and actions: it is what the world did. A denoiser that is given it imagines, for
    ``u`` drawn from (0, alpha], the alpha-tail over worlds, and for ``u`` from (0, 1) the worlds as they are.

    Args:
        obs_dim: Size of the start state ``O``.
        action_dim: Size of an action ``A``.
        horizon: Rows of a window ``H``; the action of the last row leads nowhere and is not seen.
        levels: ``N``, at least 2.
        sizes: Of the network.

    References:
        Dabney et al., "Distributional reinforcement learning with quantile regression", AAAI 2018. Rosenblatt,
        "Remarks on a multivariate transformation", 1952.
    """

    def __init__(self, obs_dim: int, action_dim: int, horizon: int, levels: int, sizes: ResidualSizes) -> None:
        super().__init__()
        self.input = nn.Linear(obs_dim + (horizon - 1) * action_dim, sizes.hidden_dim)
        self.blocks = nn.Sequential(*[ResidualBlock(sizes.hidden_dim) for _ in range(sizes.num_layers)])
        self.output = nn.Linear(sizes.hidden_dim, levels - 1)

    def forward(self, actions: Tensor, start: Tensor) -> Tensor:
        """Predict the standardised gains at the inner quantiles ``1/N, ..., (N-1)/N``, ascending.

        Args:
            actions: Scaled to ``[-1, 1]``. Shape ``[B, H, A]``.
            start: Normalised start states. Shape ``[B, O]``.

        Returns:
            Shape ``[B, N - 1]``.
        """
        features = torch.cat([start, actions[:, :-1].flatten(1)], dim=1)
        # Sorting is the rearrangement of Chernozhukov et al. (2010): quantiles that do not cross, and are no worse.
        quantiles: Tensor = self.output(self.blocks(self.input(features)).relu()).sort(dim=1).values
        return quantiles


def locate(quantiles: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """Find the quantile of what happened, uniformly at random within its bracket.

    It is exactly uniform wherever the quantiles are right, also where many targets are equal.

    Args:
        quantiles: Those at ``1/N, ..., (N-1)/N``, ascending. Shape ``[B, N - 1]``.
        targets: What happened, on the same scale. Shape ``[B]``.
        generator: Source of randomness.

    Returns:
        In ``[0, 1)``. Shape ``[B]``.
    """
    below, upto = ((relation(targets[:, None])).sum(dim=1) for relation in (quantiles.lt, quantiles.le))
    drawn = torch.rand(len(targets), generator=generator, device=targets.device)
    return (below + drawn * (upto - below + 1)) / (quantiles.shape[1] + 1)


def pinball_loss(quantiles: Tensor, targets: Tensor) -> Tensor:
    """Give the mean pinball loss of quantiles ``[B, N - 1]`` at ``1/N, ..., (N-1)/N`` for targets ``[B]``.

    Example:
        >>> pinball_loss(torch.tensor([[0.0]]), torch.tensor([4.0]))
        tensor(2.)

    References:
        Koenker and Bassett, "Regression quantiles", Econometrica 1978.
    """
    count = quantiles.shape[1]
    levels = torch.arange(1, count + 1, device=quantiles.device) / (count + 1)
    error = targets[:, None] - quantiles
    return torch.maximum(levels * error, (levels - 1.0) * error).mean()


def quantile_features(quantile: Tensor) -> Tensor:
    """Describe quantiles ``[B]`` to a network at unit scale: where they lie, and how far in a tail. ``[B, 2]``."""
    centred = 2.0 * quantile - 1.0
    # The error function's inverse is a Gaussian's quantile, up to a factor; the bound keeps it finite.
    return torch.stack([centred, torch.erfinv(centred.clamp(-0.98, 0.98))], dim=1)
