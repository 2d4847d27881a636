"""TRPO: one player, real rollouts. The baseline that shares every part with the robust methods."""

from __future__ import annotations

from torch.optim import Optimizer

from rrl.algorithms.base import RLModule
from rrl.policies import Learner
from rrl.spaces import Spaces
from rrl.trpo import TrustRegion
from rrl.types import Rollout


class TRPO(RLModule):
    """Trust region policy optimisation of one player on real rollouts.

    Domain randomisation is a matter of the data: give the DataModule ``physics`` or ``pushes``. Logs what
    :class:`~rrl.algorithms.base.RLModule` logs.

    Differences from the paper: advantages by GAE; the value function is a network fitted by Adam; observations and
    value targets are normalised by running statistics; the line search needs a rise of the surrogate, not a share of
    the expected one.

    References:
        Schulman et al., "Trust region policy optimization", ICML 2015.
    """

    def __init__(
        self, spaces: Spaces, *, learner: Learner = Learner(), policy_update: TrustRegion = TrustRegion()
    ) -> None:
        super().__init__(spaces, learner=learner, policy_update=policy_update)

    def training_step(self, batch: Rollout, batch_idx: int) -> None:
        """Improve the policy on one fresh rollout."""
        self.count_steps(batch)
        with self.timed("update"):
            judged = self.advantage_batch(self.protagonist, [batch.transitions])
            self.update_player(
                "protagonist", self.protagonist, judged, self.player_step_optimizers(), value_batch=judged
            )
            # After the update: the policy that sampled the actions used the statistics of before.
            self.protagonist.normalizer.update(batch.transitions.observations)
        self.log_rollout(batch.episodes)
        self.end_iteration(batch.transitions.rewards.numel() * self.trainer.world_size)

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the policy's optimiser, then the value function's."""
        return self.player_optimizers(self.protagonist)
