"""Players and their parts; settings: `Learner`."""

from rrl.policies.actor_critic import ActorCritic, ActorSnapshot, Learner, ValueFunction, fit_value_function
from rrl.policies.gaussian import GaussianPolicy
from rrl.policies.networks import mlp
from rrl.policies.normalization import RunningNormalizer

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
