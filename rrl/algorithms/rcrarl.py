"""RC-RARL: the game in which a calibrated failure risk decides where episodes begin or the adversary may push."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rrl.algorithms.advantage_batch import estimate_advantages
from rrl.algorithms.adversaries import GatedAdversary, WeakenedAdversary
from rrl.algorithms.rarl import RARL, Game, Phase, force_rms
from rrl.distributed import all_reduce_mean, all_reduce_sum
from rrl.policies import ActorCritic, Learner
from rrl.risk import (
    ForceControl,
    Gate,
    HorizonLabels,
    LabelSource,
    Restarts,
    RiskLearner,
    RiskModel,
    ScoredStates,
    Shaping,
    gate_metrics,
    potential_shaping,
)
from rrl.spaces import Spaces
from rrl.trpo import TrustRegion
from rrl.types import Adversary, HasAttackTests, RestartStates, Rollout, RolloutBatch


class RCRARL(RARL):
    """Risk-calibrated robust adversarial reinforcement learning: the adversary pushes where failure is likely.

    As :class:`~rrl.algorithms.rarl.RARL`, and on each rollout of the protagonist's phases: label its states; score the
    risk model on them, which has not seen them; add them to the data; refit the model; set the gate for the rollouts to
    come. Where the gate is shut the adversary's executed action is zero; such steps stay in its advantages and value
    function and do not count in its policy step. With ``restarts``, a share of the training episodes of both players
    begins in states of the newest such rollout, chosen by their risk; with ``shaping`` the adversary earns the rise of
    the risk; with ``force_control`` its force follows the predicted failure rate. Without all of them and a gate
    (``gate: null``) this is RARL, bit for bit, and so it is with one that is always open (``gate.exploration: 1``).

    Logs what RARL logs, and

    - ``risk/{brier,nll,ece,ece_equal_mass,auroc,average_precision,base_rate,num_trajectories}``: the calibrated risk on
      the new rollout; ``risk/{brier,nll,ece,ece_equal_mass}_raw``: the same without calibration;
    - ``risk/fit_base_rate``, ``risk/fit_trajectories``, ``risk/degenerate``: the data of the last fit, and 1 where they
      held one class only;
    - ``risk/return_threshold``: below it an episode counts as failed, where labels go by returns;
    - ``gate/open_fraction``, ``gate/open_fraction_ruled``: with and without exploration; ``gate/mean_risk_open``;
      ``gate/force_rms`` (a share of the force limit);
    - ``gate/threshold``, ``gate/skill``, ``gate/budget``: what the next rollout is ruled by;
    - ``rollout/*`` count the episodes that ``restarts`` began like all others;
    - ``restarts/candidates``: share of the states of the rollout in which episodes may begin from now on;
      ``restarts/risk_mean``: mean risk of those in which they do;
    - ``adversary/shaping_rms``: root mean square of what shaping added to a reward; ``adversary/force_share``: share of
      the force limit that the next rollout allows;
    - ``adversary/skipped``: 1 where too few steps were open for a step of the adversary's policy.

    Differences from the paper: labels by a short horizon, squared features, held-out calibration and a gate that holds
    a budget, by default; the options have the paper's own choices, see ``conf/rcrarl_*_paper.yaml``. With the paper's
    threshold, set once, positive labels vanish as the policy improves, and with them the adversary.

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025.
    """

    force_share: Tensor
    """Share of the force limit that the adversary may use; there where it is controlled. Scalar, float64."""

    def __init__(
        self,
        spaces: Spaces,
        *,
        learner: Learner = Learner(),
        policy_update: TrustRegion = TrustRegion(),
        game: Game = Game(),
        labels: LabelSource = HorizonLabels(),
        risk_model: RiskModel = RiskModel(),
        gate: Gate | None = Gate(),
        restarts: Restarts | None = None,
        shaping: Shaping | None = None,
        force_control: ForceControl | None = None,
    ) -> None:
        super().__init__(spaces, learner=learner, policy_update=policy_update, game=game)
        self.risk = RiskLearner(spaces, labels=labels, model=risk_model, gate=gate)
        self._scored: dict[str, ScoredStates] = {}
        self.restarts, self.shaping, self.force_control = restarts, shaping, force_control
        self._restart_states: RestartStates | None = None  # the worlds keep them over a resume
        self.remember(labels=labels, risk_model=risk_model, gate=gate, restarts=restarts)
        self.remember(shaping=shaping, force_control=force_control)
        if restarts is not None and not spaces.can_restart:
            raise ValueError("`restarts` needs worlds whose states can be set, which those of this task cannot.")
        if shaping is not None and self.risk.calibrator.predictor.history is not None:
            got = type(risk_model.predictor).__name__
            raise ValueError(f"`shaping` needs a `risk_model.predictor` of single states, got `{got}`.")
        if force_control is not None:
            self.register_buffer("force_share", torch.tensor(force_control.start, dtype=torch.float64))

    @property
    def num_protagonist_updates(self) -> int:
        """Updates of the protagonist so far."""
        updates, game = int(self.num_updates), self.game
        cycles, rest = divmod(max(updates - game.warmup_updates, 0), game.cycle)
        in_game = cycles * game.protagonist_updates + min(rest, game.protagonist_updates)
        return min(updates, game.warmup_updates) + in_game

    def make_adversary(self) -> Adversary:
        """Return the adversary for one rollout, behind its gate if it has one."""
        gate = self.risk.gate
        adversary: Adversary = (
            super().make_adversary() if gate is None else GatedAdversary(self.adversary, self.risk.calibrator, gate)
        )
        return adversary if self.force_control is None else WeakenedAdversary(adversary, float(self.force_share))

    def rollout_restarts(self) -> RestartStates | None:
        """Return the states in which some episodes begin, chosen among those of the newest rollout."""
        return self._restart_states

    def check_rollouts(self, num_steps: int) -> None:
        """Refuse rollouts in which no state could be labelled."""
        self.risk.labeller.check_rollouts(num_steps)

    def check_trainer(self, trainer: Any) -> None:
        """Refuse labels that need test returns where nobody supplies them."""
        super().check_trainer(trainer)
        tested = any(isinstance(item, HasAttackTests) and item.tests_learned_adversary for item in trainer.callbacks)
        if self.risk.labeller.needs_tests and not tested:
            raise ValueError(
                "`labels: AttackReturnLabels` needs tests against the learned adversary: "
                "`attacks.attackers` must hold 'learned' and `attacks.every_n_epochs` be positive."
            )

    def on_attack_tested(self, mean_return: float) -> None:
        """Take in the mean return, in units of reward, of a test of the protagonist against the learned adversary."""
        self.risk.labeller.take_test(mean_return)

    def training_step(self, batch: Rollout, batch_idx: int) -> None:
        """Learn the risk from a rollout of the protagonist's phase, then improve the player whose phase it is."""
        self._scored = {}
        if batch.attack is not None:
            if self.risk.gate is not None:
                self.log_metrics({**gate_metrics(batch.attack), "gate/force_rms": force_rms(batch.attack)})
            if self.phase == "protagonist":
                with self.timed("risk"):
                    metrics, self._scored = self.risk.learn(batch, update=self.num_protagonist_updates + 1)
                    self._choose_restarts(batch)
                    self._control_force(batch)
                self.log_metrics(metrics)
        super().training_step(batch, batch_idx)

    def _choose_restarts(self, batch: Rollout) -> None:
        """Choose among the states of a rollout those in which episodes begin from now on."""
        if self.restarts is None or not self.risk.calibrator.fitted:
            return
        states, risk = self.risk.states_at_risk(batch, self.restarts.signal)
        weights = self.restarts.weights(risk).double()
        self._restart_states = RestartStates(states, weights, self.restarts.share)
        self.log_metrics({"restarts/candidates": (weights > 0.0).double().mean()})
        if weights.any():
            self.log_metrics({"restarts/risk_mean": (risk * weights).sum() / weights.sum()})

    def _control_force(self, batch: Rollout) -> None:
        """Adapt the force of the rollouts to come to the failure rate that the risk predicts."""
        if self.force_control is None or not self.risk.calibrator.fitted:
            return
        _, risk = self.risk.states_at_risk(batch, "calibrated")
        self.force_share.fill_(self.force_control.update(float(self.force_share), float(risk.double().mean())))
        self.log_metrics({"adversary/force_share": float(self.force_share)})

    def _shaped(self, batch: RolloutBatch) -> RolloutBatch:
        """Add to the adversary's rewards what brought the protagonist nearer to a failure."""
        if self.shaping is None or not self.risk.calibrator.fitted:
            return batch
        risk = self.risk.calibrator.signal(batch.observations, self.shaping.signal)
        after = self.risk.calibrator.signal(batch.next_observations, self.shaping.signal)
        bonus = self.shaping.weight * potential_shaping(risk, after, batch.terminated, gamma=self.learner.gamma)
        self.log_metrics({"adversary/shaping_rms": all_reduce_mean(bonus.square().mean()).sqrt()})
        return replace(batch, rewards=batch.rewards + bonus.to(batch.rewards))

    def improve(self, name: Phase, player: ActorCritic, batch: RolloutBatch) -> None:
        """Update a player, see :meth:`RARL.improve`; the adversary's policy only where enough steps were open."""
        if name == "adversary":
            batch = self._shaped(batch)
        if name == "protagonist" or self._enough_open(batch.weights):
            super().improve(name, player, batch)
            return
        # Value targets alone: no advantage counts, so there is nothing to standardise advantages by.
        self._fit_value(player, estimate_advantages(player, batch, self.learner), self.optimizers_of(name)[1])
        player.normalizer.update(batch.observations)

    def _enough_open(self, weights: Tensor) -> bool:
        if self.risk.gate is None:
            return True
        num_open = int(all_reduce_sum((weights > 0.0).sum()))
        skipped = num_open < self.risk.gate.settings.min_open_steps
        self.log_metrics({"adversary/skipped": float(skipped)})
        return not skipped

    def reliability_states(self) -> dict[str, ScoredStates] | None:
        """Return what a reliability diagram shows, see :class:`rrl.risk.learner.RiskReport`; None where none is due."""
        is_time = self.num_protagonist_updates in self.risk.settings.reliability_updates
        return self._scored if is_time and self._scored else None
