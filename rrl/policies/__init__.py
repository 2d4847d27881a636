"""Players and their parts.

- ``networks``: multi-layer perceptrons with orthogonal initialisation.
- ``gaussian``: the Gaussian policy.
- ``normalization``: running observation statistics.
- ``actor_critic``: policy, value function and normaliser as one player.
"""

from rrl.policies.actor_critic import ActorCritic, ValueFunction
from rrl.policies.gaussian import GaussianPolicy
from rrl.policies.networks import mlp
from rrl.policies.normalization import RunningNormalizer

__all__ = ["ActorCritic", "GaussianPolicy", "RunningNormalizer", "ValueFunction", "mlp"]
