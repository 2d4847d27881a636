"""RARL: a protagonist and an adversary that pushes it, trained in alternating phases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

from rrl.algorithms.adversaries import LearnedAdversary, UniformAdversary
from rrl.algorithms.base import RLModule
from rrl.checkpoints import CheckpointError, read_checkpoint
from rrl.checkpoints.loading import check_finite
from rrl.checks import require_at_least, require_one_of
from rrl.distributed import all_reduce_mean, gather_objects
from rrl.policies import ActorCritic, Learner
from rrl.random_streams import Purpose, seeded_globally
from rrl.spaces import Spaces
from rrl.trpo import TrustRegion
from rrl.types import Adversary, AttackRecord, Rollout, RolloutBatch

Phase = Literal["protagonist", "adversary"]


@dataclass(frozen=True, kw_only=True)
class Game:
    """Whose turn it is, how the game begins, and who pushes."""

    protagonist_updates: int = 1
    """Consecutive updates of the protagonist; ``1`` in the published code. With 0 it is frozen: together with
    ``warm_start`` and ``fresh_adversary`` that is the attack by a new adversary on a finished policy."""
    adversary_updates: int = 1
    """Consecutive updates of the adversary; ``1`` in the published code. With 0 it never learns."""
    warmup_updates: int = 0
    """Updates of the protagonist, without forces, before the game begins."""
    warm_start: str | None = None
    """Checkpoint of this package whose protagonist, and adversary if it has one, the run starts from."""
    fresh_adversary: bool = False
    """Take over the protagonist alone."""
    opponent: Literal["learned", "uniform"] = "learned"
    """``uniform`` draws forces at random within the limit and never learns."""

    def __post_init__(self) -> None:
        require_one_of(("learned", "uniform"), opponent=self.opponent)
        require_at_least(0, protagonist_updates=self.protagonist_updates, warmup_updates=self.warmup_updates)
        require_at_least(0, adversary_updates=self.adversary_updates)
        if self.cycle == 0:
            raise ValueError("one of `protagonist_updates` and `adversary_updates` must be positive, or nobody learns.")

    @property
    def cycle(self) -> int:
        """Updates until the phases repeat."""
        return self.protagonist_updates + (self.adversary_updates if self.opponent == "learned" else 0)


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

    The task must have an adversary; learner and trust region are those of both players.

    Differences from the paper: those of :class:`~rrl.algorithms.trpo.TRPO`, and rollouts of fixed length instead of
    whole episodes. The published code has gamma ``0.995``, lambda ``0.97``, and fits a linear value function in closed
    form; ``conf/rarl_hopperheel_paper.yaml`` has its trust region.

    References:
        Pinto, Davidson, Sukthankar and Gupta, "Robust adversarial reinforcement learning", ICML 2017, Algorithm 1.
    """

    num_updates: Tensor
    """Training steps so far; it decides the phase. A buffer, so that the phases survive a resume. Scalar."""

    def __init__(
        self,
        spaces: Spaces,
        *,
        learner: Learner = Learner(),
        policy_update: TrustRegion = TrustRegion(),
        game: Game = Game(),
    ) -> None:
        super().__init__(spaces, learner=learner, policy_update=policy_update)
        self.remember(game=game)
        if spaces.adversary_dim < 1:
            raise ValueError(
                "the game needs a task with an adversary, such as `env_id: rrl/HopperAdv-v1`, or the bodies that one "
                "pushes: `adversary: {bodies: [torso]}`."
            )
        self.game = game
        # The global stream goes on as if there were no adversary: without force this is TRPO, bit for bit.
        with seeded_globally(Purpose.ADVERSARY_NETWORK, torch.initial_seed()):
            self.adversary = ActorCritic(spaces.obs_dim, spaces.adversary_dim, learner)
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.long))

    @property
    def phase(self) -> Phase:
        """The player that the next training step improves."""
        position = int(self.num_updates) - self.game.warmup_updates
        is_protagonist = position < 0 or position % self.game.cycle < self.game.protagonist_updates
        return "protagonist" if is_protagonist else "adversary"

    def rollout_adversary(self) -> Adversary | None:
        """Return who pushes in the worlds, on the CPU; None while the protagonist warms up."""
        if int(self.num_updates) < self.game.warmup_updates:
            return None
        return self.make_adversary()

    def make_adversary(self) -> Adversary:
        """Return who pushes once the game has begun."""
        return LearnedAdversary(self.adversary) if self.game.opponent == "learned" else UniformAdversary()

    def ungated_adversary(self) -> Adversary:
        """Return the learned adversary as it pushes when nothing holds it back."""
        return LearnedAdversary(self.adversary)

    def setup(self, stage: str) -> None:
        """Start from the players of another run, unless this one is being continued."""
        if stage == "fit" and self.game.warm_start is not None and self.trainer.ckpt_path is None:
            self._load_players(self.game.warm_start)

    def training_step(self, batch: Rollout, batch_idx: int) -> None:
        """Improve the player whose phase it is on one fresh rollout."""
        phase = self.phase
        self.count_steps(batch)
        with self.timed("update"):
            if phase == "protagonist":
                self.improve("protagonist", self.protagonist, batch.transitions)
            else:
                self.improve("adversary", self.adversary, adversary_batch(batch))
        if phase == "protagonist" or self.game.protagonist_updates == 0:
            self.log_rollout(batch.episodes)
            self._log_extremes(batch)
        if batch.attack is not None:
            self.log_metrics({"adversary/force_rms": force_rms(batch.attack)})
        self.num_updates += 1
        self.end_iteration(batch.transitions.rewards.numel() * self.trainer.world_size)

    def improve(self, name: Phase, player: ActorCritic, batch: RolloutBatch) -> None:
        """Update a player on its view of a rollout: policy, value function, then normaliser."""
        judged = self.advantage_batch(player, [batch])
        self.update_player(name, player, judged, self.optimizers_of(name), value_batch=judged)
        # After the update: the policy that sampled the actions used the statistics of before.
        player.normalizer.update(batch.observations)

    def optimizers_of(self, name: Phase) -> tuple[LightningOptimizer, Optimizer]:
        """Return a player's optimisers, see :meth:`player_step_optimizers`."""
        return self.player_step_optimizers(0 if name == "protagonist" else 2)

    def _log_extremes(self, batch: Rollout) -> None:
        returns = torch.cat(gather_objects(batch.episodes.returns.cpu()))
        if len(returns) > 0:
            extremes = {"rollout/episode_return_max": returns.max(), "rollout/episode_return_min": returns.min()}
            self.log_metrics(extremes)

    def _load_players(self, path: str) -> None:
        saved = read_checkpoint(path)["state_dict"]
        for name in ("protagonist",) if self.game.fresh_adversary else ("protagonist", "adversary"):
            state = {key.removeprefix(f"{name}."): value for key, value in saved.items() if key.startswith(f"{name}.")}
            if not state and name == "adversary":
                return
            try:
                getattr(self, name).load_state_dict(state)
            except RuntimeError as error:
                raise CheckpointError(f"The {name} of `warm_start` {path} does not fit this one.") from error
            check_finite(getattr(self, name), state, path)

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the optimisers of the protagonist's policy and value function, then of the adversary's."""
        return [*self.player_optimizers(self.protagonist), *self.player_optimizers(self.adversary)]


def adversary_batch(batch: Rollout) -> RolloutBatch:
    """See a rollout with the adversary's eyes: its actions, and the negated rewards.

    Where the gate was shut the action had no effect: it does not count in the update of the policy. The transition
    itself happened: advantages and the value function see it.
    """
    if batch.attack is None:
        raise ValueError("the rollout has no adversary.")
    transitions = batch.transitions
    weights = transitions.weights * batch.attack.is_open
    return replace(transitions, actions=batch.attack.actions, rewards=-transitions.rewards, weights=weights)


def force_rms(attack: AttackRecord) -> Tensor:
    """Compute the root mean square of the executed force over all steps and axes, as a share of the force limit."""
    return all_reduce_mean(attack.executed.square().mean()).sqrt()
