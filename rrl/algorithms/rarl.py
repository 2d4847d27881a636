"""RARL: a protagonist and an adversary that pushes it, trained in alternating phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

from rrl.algorithms.attackers import LearnedAdversary, UniformAdversary
from rrl.algorithms.base import RLModule
from rrl.checkpoints import CheckpointError, read_checkpoint
from rrl.distributed import all_reduce_mean, gather_objects
from rrl.policies import ActorCritic
from rrl.random_streams import Purpose, seeded_globally
from rrl.types import Adversary, AttackRecord, Rollout, RolloutBatch

Phase = Literal["protagonist", "adversary"]


class RARL(RLModule):
    """Robust adversarial reinforcement learning: a zero-sum game between two players that improve in turns.

    Both players act in every rollout. A training step improves the one whose phase it is on one fresh rollout:
    ``protagonist_updates`` steps of the protagonist, then ``adversary_updates`` of the adversary, whose reward is the
    negated one. The adversary has a policy, a value function and a normaliser of its own; both see the same.

    Logs what :class:`~rrl.algorithms.base.RLModule` logs, the ``rollout/*`` in phases of the protagonist unless it is
    frozen, and

    - ``rollout/episode_return_max``, ``rollout/episode_return_min``: of the protagonist's batch;
    - ``adversary/*``: the same as ``protagonist/*``, in phases of the adversary;
    - ``adversary/force_rms``: root mean square of the executed force an axis, as a share of the force limit.

    Args:
        obs_dim: Observation size, ``O``; from the data.
        action_dim: Action size, ``A``; from the data.
        action_low: Lower sides of the action box; from the data.
        action_high: Upper sides of the action box; from the data.
        adversary_dim: Size of the adversary's action, ``F``; from the data.
        protagonist_updates: Consecutive updates of the protagonist; ``1`` in the published code. With 0 it is frozen:
            together with ``warm_start`` and ``fresh_adversary`` that is the attack by a new adversary on a finished
            policy.
        adversary_updates: Consecutive updates of the adversary; ``1`` in the published code. With 0 it never learns.
        warmup_updates: Updates of the protagonist, without forces, before the game begins.
        warm_start: Checkpoint of this package whose protagonist, and adversary if it has one, this run starts from.
        fresh_adversary: Take over the protagonist alone.
        opponent: ``learned``, or ``uniform`` for forces drawn at random within the limit; the latter never learns.
        gamma: See :class:`~rrl.algorithms.base.RLModule`, as all that follow; ``0.995`` in the published code.
        gae_lambda: ``0.97`` in the published code.
        max_kl: ``0.01`` in the published code.
        cg_iterations: ``10`` in the published code.
        cg_damping: ``1e-5`` in the published code.
        backtrack_ratio: ``0.8`` in the published code.
        max_backtracks: ``15`` in the published code.
        fisher_fraction: ``1.0`` in the published code.
        value_learning_rate: The published code fits a linear function in closed form.
        value_epochs: Passes over the batch.
        value_batch_size: Samples of a gradient step.
        hidden_sizes: ``(64, 64)`` in the paper, ``(100, 100, 100)`` in the published script.
        activation: ``tanh`` or ``silu``.
        initial_log_std: Logarithm of the initial standard deviation of both players.

    Differences from the paper: those of :class:`~rrl.algorithms.trpo.TRPO`, and rollouts of fixed length instead of
    whole episodes.

    References:
        Pinto, Davidson, Sukthankar and Gupta, "Robust adversarial reinforcement learning", ICML 2017, Algorithm 1.
    """

    num_updates: Tensor
    """Training steps so far; it decides the phase. A buffer, so that the phases survive a resume. Scalar."""

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        action_low: Sequence[float],
        action_high: Sequence[float],
        adversary_dim: int,
        *,
        protagonist_updates: int = 1,
        adversary_updates: int = 1,
        warmup_updates: int = 0,
        warm_start: str | None = None,
        fresh_adversary: bool = False,
        opponent: Literal["learned", "uniform"] = "learned",
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        max_kl: float = 0.01,
        cg_iterations: int = 15,
        cg_damping: float = 0.1,
        backtrack_ratio: float = 0.8,
        max_backtracks: int = 10,
        fisher_fraction: float = 0.25,
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
            value_learning_rate=value_learning_rate,
            value_epochs=value_epochs,
            value_batch_size=value_batch_size,
            hidden_sizes=hidden_sizes,
            activation=activation,
            initial_log_std=initial_log_std,
        )
        if adversary_dim < 1:
            raise ValueError("the game needs a task with an adversary, such as `env_id: rrl/HopperAdv-v1`.")
        counts = {
            "protagonist_updates": protagonist_updates,
            "adversary_updates": adversary_updates,
            "warmup_updates": warmup_updates,
        }
        for name, value in counts.items():
            if value < 0:
                raise ValueError(f"`{name}` must be at least 0, got {value}.")
        self.protagonist_updates, self.warmup_updates = protagonist_updates, warmup_updates
        self.adversary_updates = adversary_updates if opponent == "learned" else 0
        if self.protagonist_updates + self.adversary_updates == 0:
            raise ValueError("one of `protagonist_updates` and `adversary_updates` must be positive, or nobody learns.")
        self.opponent, self.warm_start, self.fresh_adversary = opponent, warm_start, fresh_adversary
        # The global stream goes on as if there were no adversary: without force this is TRPO, bit for bit.
        with seeded_globally(Purpose.ADVERSARY_NETWORK, torch.initial_seed()):
            self.adversary = ActorCritic(
                obs_dim,
                adversary_dim,
                hidden_sizes=hidden_sizes,
                activation=activation,
                initial_log_std=initial_log_std,
            )
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.long))
        self.save_hyperparameters()

    @property
    def phase(self) -> Phase:
        """The player that the next training step improves."""
        position = int(self.num_updates) - self.warmup_updates
        in_game = position % (self.protagonist_updates + self.adversary_updates)
        return "protagonist" if position < 0 or in_game < self.protagonist_updates else "adversary"

    def rollout_adversary(self) -> Adversary | None:
        """Return who pushes in the worlds, on the CPU; None while the protagonist warms up."""
        if int(self.num_updates) < self.warmup_updates:
            return None
        return self.make_adversary()

    def make_adversary(self) -> Adversary:
        """Return who pushes once the game has begun."""
        return LearnedAdversary(self.adversary) if self.opponent == "learned" else UniformAdversary()

    def ungated_adversary(self) -> Adversary:
        """Return the learned adversary as it pushes when nothing holds it back."""
        return LearnedAdversary(self.adversary)

    def setup(self, stage: str) -> None:
        """Start from the players of another run, unless this one is being continued.

        Args:
            stage: Lightning's stage.
        """
        if stage == "fit" and self.warm_start is not None and self.trainer.ckpt_path is None:
            self._load_players(self.warm_start)

    def training_step(self, batch: Rollout, batch_idx: int) -> None:
        """Improve the player whose phase it is on one fresh rollout."""
        phase = self.phase
        self.count_steps(batch)
        with self.timed("update"):
            if phase == "protagonist":
                self.improve("protagonist", self.protagonist, batch.transitions)
            else:
                self.improve("adversary", self.adversary, adversary_batch(batch))
        if phase == "protagonist" or self.protagonist_updates == 0:
            self.log_rollout(batch.episodes)
            self._log_extremes(batch)
        if batch.attack is not None:
            self.log_metrics({"adversary/force_rms": force_rms(batch.attack)})
        self.num_updates += 1
        self.end_iteration(batch.transitions.rewards.numel() * self.trainer.world_size)

    def improve(self, name: Phase, player: ActorCritic, batch: RolloutBatch) -> None:
        """Update a player on its view of a rollout: policy, value function, then normaliser.

        Args:
            name: Group of its log keys.
            player: Improved in place.
            batch: Its actions and rewards.
        """
        self.update_player(name, player, self.prepare(player, [batch]), self.optimizers_of(name))
        # After the update: the policy that sampled the actions used the statistics of before.
        player.normalizer.update(batch.observations)

    def optimizers_of(self, name: Phase) -> tuple[LightningOptimizer, Optimizer]:
        """Return a player's policy optimiser, wrapped by Lightning, and its value optimiser, bare."""
        first = 0 if name == "protagonist" else 2
        return cast(list[LightningOptimizer], self.optimizers())[first], self.bare_optimizer(first + 1)

    def _log_extremes(self, batch: Rollout) -> None:
        returns = torch.cat(gather_objects(batch.episodes.returns.cpu()))
        if len(returns) > 0:
            self.log_metrics({
                "rollout/episode_return_max": returns.max(),
                "rollout/episode_return_min": returns.min(),
            })

    def _load_players(self, path: str) -> None:
        saved = read_checkpoint(path)["state_dict"]
        for name in ("protagonist",) if self.fresh_adversary else ("protagonist", "adversary"):
            state = {key.removeprefix(f"{name}."): value for key, value in saved.items() if key.startswith(f"{name}.")}
            if not state and name == "adversary":
                return
            try:
                getattr(self, name).load_state_dict(state)
            except RuntimeError as error:
                raise CheckpointError(f"The {name} of `warm_start` {path} does not fit this one.") from error

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the optimisers of the protagonist's policy and value function, then of the adversary's."""
        return [*self.player_optimizers(self.protagonist), *self.player_optimizers(self.adversary)]


def adversary_batch(batch: Rollout) -> RolloutBatch:
    """See a rollout with the adversary's eyes: its actions, and the negated rewards.

    Where the gate was shut the action had no effect: it does not count in the update of the policy. The transition
    itself happened: advantages and the value function see it.

    Args:
        batch: A rollout with an adversary.

    Returns:
        Transitions of shape ``[T, N, ...]``.

    Raises:
        ValueError: If there was no adversary.
    """
    if batch.attack is None:
        raise ValueError("the rollout has no adversary.")
    transitions = batch.transitions
    weights = transitions.weights * batch.attack.is_open
    return replace(transitions, actions=batch.attack.actions, rewards=-transitions.rewards, weights=weights)


def force_rms(attack: AttackRecord) -> Tensor:
    """Compute the root mean square of the executed force over all steps and axes, as a share of the force limit."""
    return all_reduce_mean(attack.executed.square().mean()).sqrt()
