"""TRPO: one player, real rollouts. The baseline that shares every part with the robust methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch.optim import Optimizer

from rrl.algorithms.base import RLModule
from rrl.types import Rollout


class TRPO(RLModule):
    """Trust region policy optimisation of one player on real rollouts.

    Domain randomisation is a matter of the data: give the DataModule ``physics`` or ``pushes``.

    See :class:`~rrl.algorithms.base.RLModule` for the arguments and the logged quantities.

    Differences from the paper: advantages by GAE; the value function is a network fitted by Adam; observations and
    value targets are normalised by running statistics; the line search needs a rise of the surrogate, not a share of
    the expected one.

    References:
        Schulman et al., "Trust region policy optimization", ICML 2015.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        action_low: Sequence[float],
        action_high: Sequence[float],
        *,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        max_kl: float = 0.01,
        cg_iterations: int = 15,
        cg_damping: float = 0.1,
        backtrack_ratio: float = 0.8,
        max_backtracks: int = 10,
        fisher_fraction: float = 0.25,
        entropy_weight: float = 0.0,
        value_learning_rate: float = 1e-3,
        value_epochs: int = 10,
        value_batch_size: int = 256,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: Literal["tanh", "silu"] = "tanh",
        initial_log_std: float = 0.0,
    ) -> None:
        super().__init__(
            obs_dim,
            action_dim,
            action_low,
            action_high,
            gamma=gamma,
            gae_lambda=gae_lambda,
            max_kl=max_kl,
            cg_iterations=cg_iterations,
            cg_damping=cg_damping,
            backtrack_ratio=backtrack_ratio,
            max_backtracks=max_backtracks,
            fisher_fraction=fisher_fraction,
            entropy_weight=entropy_weight,
            value_learning_rate=value_learning_rate,
            value_epochs=value_epochs,
            value_batch_size=value_batch_size,
            hidden_sizes=hidden_sizes,
            activation=activation,
            initial_log_std=initial_log_std,
        )
        self.save_hyperparameters()

    def training_step(self, batch: Rollout, batch_idx: int) -> None:
        """Improve the policy on one fresh rollout."""
        self.count_steps(batch)
        with self.timed("update"):
            prepared = self.prepare(self.protagonist, [batch.transitions])
            self.update_player("protagonist", self.protagonist, prepared, self.player_step_optimizers())
            # After the update: the policy that sampled the actions used the statistics of before.
            self.protagonist.normalizer.update(batch.transitions.observations)
        self.log_rollout(batch.episodes)
        self.end_iteration(batch.transitions.rewards.numel() * self.trainer.world_size)

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the policy's optimiser, then the value function's."""
        return self.player_optimizers(self.protagonist)
