"""One player: a policy, its value function, and the normalisers that both look through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.optim import Optimizer

from rrl.checks import require_at_least, require_positive, require_within
from rrl.distributed import all_reduce_mean, all_reduce_sum, average_gradients
from rrl.policies.gaussian import GaussianPolicy
from rrl.policies.networks import Activation, Backpropagation, mlp
from rrl.policies.normalization import CLIP, RunningNormalizer


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
        require_within("[-20, 20]", initial_log_std=self.initial_log_std)


class ValueFunction(nn.Module):
    """A value network that learns in standardised units while it answers in units of reward.

    Returns grow by orders of magnitude while a policy learns. The targets are therefore standardised by a moving mean
    and scale, and whenever those move, the last layer is corrected so that no prediction changes (Pop-Art).

    References:
        van Hasselt et al., "Learning values across many orders of magnitude", NeurIPS 2016, section 2.1.
    """

    mean: Tensor
    """Moving mean of the targets, in units of reward. Scalar."""
    scale: Tensor
    """Moving standard deviation of the targets, in units of reward. Scalar."""

    def __init__(
        self, obs_dim: int, *, hidden_sizes: Sequence[int] = (64, 64), activation: Activation = "tanh"
    ) -> None:
        super().__init__()
        self.network = mlp(obs_dim, hidden_sizes, 1, activation=activation, output_gain=1.0)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, observations: Tensor) -> Tensor:
        """Predict values ``[...]``, in units of reward, of normalised observations ``[..., O]``."""
        return self.standardized(observations) * self.scale + self.mean

    def standardized(self, observations: Tensor) -> Tensor:
        """Predict values as ``forward`` does, in the units in which the network learns."""
        values: Tensor = self.network(observations).squeeze(-1)
        return values

    def standardize(self, targets: Tensor) -> Tensor:
        """Bring targets in units of reward to the units in which the network learns."""
        return (targets - self.mean) / self.scale

    @torch.no_grad()
    def rescale(self, targets: Tensor, weights: Tensor, *, momentum: float = 0.1) -> None:
        """Move the scale towards that of new weighted targets ``[N]`` without changing any prediction.

        ``momentum``, in ``(0, 1]``, is the weight of the new targets; the first ones are taken whole.
        """
        sums = torch.stack([weights.sum(), (weights * targets).sum(), (weights * targets.square()).sum()]).double()
        total, first, second = all_reduce_sum(sums)
        new_mean = first / total
        new_variance = (second / total - new_mean.square()).clamp(min=1e-6)
        is_first = (self.mean == 0.0) & (self.scale == 1.0)
        weight = torch.where(is_first, torch.ones_like(new_mean), torch.full_like(new_mean, momentum))
        mean = torch.lerp(self.mean.double(), new_mean, weight)
        scale = torch.lerp(self.scale.double().square(), new_variance, weight).sqrt()

        output = cast(nn.Linear, self.network[-1])
        output.weight.mul_(self.scale / scale)
        output.bias.copy_((output.bias * self.scale + self.mean - mean) / scale)
        self.mean.copy_(mean)
        self.scale.copy_(scale)


class ActorCritic(nn.Module):
    """A player: what acts, what judges, and the observation statistics of both."""

    def __init__(self, obs_dim: int, action_dim: int, learner: Learner | None = None) -> None:
        super().__init__()
        settings = learner or Learner()
        layers: dict[str, Any] = {"hidden_sizes": settings.hidden_sizes, "activation": settings.activation}
        self.normalizer = RunningNormalizer(obs_dim)
        self.policy = GaussianPolicy(obs_dim, action_dim, **layers, initial_log_std=settings.initial_log_std)
        self.value_function = ValueFunction(obs_dim, **layers)

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Choose actions; see :class:`rrl.types.Actor`."""
        mean: Tensor = self.policy.mean(self.normalizer(observations))
        return mean + self.policy.log_std.exp() * noise

    def mean_and_std(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return the policy's mean action ``[..., A]`` at raw observations, and its standard deviation ``[A]``."""
        return self.policy.mean(self.normalizer(observations)), self.policy.log_std.exp()

    def value(self, observations: Tensor) -> Tensor:
        """Predict values of raw observations, in units of reward. Shape ``[..., O] -> [...]``."""
        values: Tensor = self.value_function(self.normalizer(observations))
        return values


class ActorSnapshot:
    """A snapshot of a player's policy and observation statistics, on the CPU; build one per rollout.

    It acts as the player does, to the bit, and does not follow later changes of the player. Wherever the player lies, a
    copy a rollout is far cheaper than a transfer a step.
    """

    def __init__(self, player: ActorCritic) -> None:
        center, scale = player.normalizer.center_and_scale(torch.float32)
        self._center, self._scale = center.cpu(), scale.cpu()
        layers = [layer for layer in player.policy.mean if isinstance(layer, nn.Linear)]
        self._layers = [(_copy(layer.weight), _copy(layer.bias)) for layer in layers]
        self._activations = [layer for layer in player.policy.mean if not isinstance(layer, nn.Linear)]
        self._std = _copy(player.policy.log_std).exp()

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Choose actions; see :class:`rrl.types.Actor`."""
        features = ((observations - self._center) * self._scale).clamp_(-CLIP, CLIP)
        for layer, (weight, bias) in enumerate(self._layers):
            hidden = self._activations[layer - 1](features) if layer > 0 else features
            features = linear(hidden, weight, bias)
        return features + self._std * noise


def _copy(parameter: Tensor) -> Tensor:
    return parameter.detach().clone().cpu()


@torch.no_grad()
def fit_value_function(
    value_function: ValueFunction,
    optimizer: Optimizer,
    observations: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    epochs: int,
    batch_size: int,
) -> float:
    """Fit a value function in place, its scale before all else; all ranks take the same steps.

    Observations ``[N, O]`` are normalised, targets ``[N]`` are in units of reward, weights ``[N]`` of any scale; zeros
    exclude. Each epoch has an order of its own.

    Returns:
        The loss of the last step, in the standardised units in which the network learns.

    Raises:
        FloatingPointError: If that loss is not finite.
    """
    value_function.rescale(targets, weights)
    columns = (observations, value_function.standardize(targets), weights / all_reduce_mean(weights.mean()))
    derivatives, parameters = Backpropagation(value_function.network), list(value_function.parameters())
    loss = targets.new_zeros(())
    for _ in range(epochs):
        order = torch.randperm(len(targets), device=targets.device)
        for batch in zip(*(column[order].split(batch_size) for column in columns), strict=True):
            loss, gradients = _squared_error(derivatives, *batch)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            average_gradients(parameters)
            optimizer.step()
    last_loss = float(loss)
    if not last_loss < float("inf"):
        raise FloatingPointError("the value loss is not finite.")
    return last_loss


def _squared_error(
    derivatives: Backpropagation, observations: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the weighted mean squared error and its gradients."""
    trace = derivatives.forward(observations)
    error = trace.outputs[-1].squeeze(-1) - targets
    weighted = weights * error / len(error)
    return weighted @ error, derivatives.pull(trace, 2.0 * weighted.unsqueeze(-1))
