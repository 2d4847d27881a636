"""Players and their parts; settings: `Learner`."""

from rrl.policies.actor_critic import ActorCritic, ActorSnapshot, Learner, ValueFunction
from rrl.policies.gaussian import GaussianPolicy
from rrl.policies.networks import mlp
from rrl.policies.normalization import RunningNormalizer
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
