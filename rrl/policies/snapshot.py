"""A player as it acts at every environment step, where the overhead of modules would show."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rrl.policies.actor_critic import ActorCritic
from rrl.policies.normalization import CLIP


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
