"""Players and their parts.

- ``networks``: multi-layer perceptrons with orthogonal initialisation.
- ``gaussian``: the Gaussian policy.
- ``normalization``: running observation statistics.
- ``actor_critic``: policy, value function and normaliser as one player.
- ``learner``: its settings.
- ``snapshot``: a player as it acts at every environment step.
- ``value_fit``: the fit of a value function to its targets.
- ``backpropagation``: the derivatives of perceptrons, written out.
"""

from rrl.policies.actor_critic import ActorCritic, ValueFunction
from rrl.policies.gaussian import GaussianPolicy
from rrl.policies.learner import Learner
from rrl.policies.networks import mlp
from rrl.policies.normalization import RunningNormalizer
from rrl.policies.snapshot import ActorSnapshot
from rrl.policies.value_fit import fit_value_function

__all__ = [
    "ActorCritic",
    "ActorSnapshot",
    "GaussianPolicy",
    "Learner",
    "RunningNormalizer",
    "ValueFunction",
    "fit_value_function",
    "mlp",
]
