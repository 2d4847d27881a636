"""RC-RARL: the game in which a calibrated failure risk decides where the adversary may push."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rrl.algorithms.advantage_batch import estimate_advantages
from rrl.algorithms.attackers import GatedAdversary, gate_risk
from rrl.algorithms.rarl import RARL, Game, Phase, force_rms
from rrl.distributed import all_reduce_sum, gather_objects
from rrl.policies import ActorCritic, Learner
from rrl.risk import GateEvidence, brier_skill_score, risk_metrics, stack_history
from rrl.risk.diagram import ScoredStates
from rrl.risk.options import GateOptions, LabelOptions, RiskModelOptions, read_options
from rrl.spaces import Spaces
from rrl.trpo import TrustRegion
from rrl.types import Adversary, AttackRecord, Rollout, RolloutBatch

RAW_METRICS = ("brier", "nll", "ece", "ece_equal_mass")
"""Metrics that calibration is meant to improve, which are logged without it as well."""


class RCRARL(RARL):
    """Risk-calibrated robust adversarial reinforcement learning: the adversary pushes where failure is likely.

    As :class:`~rrl.algorithms.rarl.RARL`, and on each rollout of the protagonist's phases: label its states; score the
    risk model on them, which has not seen them; add them to the data; refit the model; set the gate for the rollouts to
    come. Where the gate is shut the adversary's executed action is zero; such steps stay in its advantages and value
    function and do not count in its policy step. With a gate that is always open (``gate.exploration: 1``) this is
    RARL, bit for bit.

    Logs what RARL logs, and

    - ``risk/{brier,nll,ece,ece_equal_mass,auroc,average_precision,base_rate,num_trajectories}``: the calibrated risk on
      the new rollout; ``risk/{brier,nll,ece,ece_equal_mass}_raw``: the same without calibration;
    - ``risk/fit_base_rate``, ``risk/fit_trajectories``, ``risk/degenerate``: the data of the last fit, and 1 where they
      held one class only;
    - ``risk/return_threshold``: below it an episode counts as failed, where labels go by returns;
    - ``gate/open_fraction``, ``gate/open_fraction_ruled``: with and without exploration; ``gate/mean_risk_open``;
      ``gate/force_rms`` (a share of the force limit);
    - ``gate/threshold``, ``gate/skill``, ``gate/budget``: what the next rollout is ruled by;
    - ``adversary/skipped``: 1 where too few steps were open for a step of the adversary's policy.

    Args:
        spaces: Of the task, which must have an adversary; from the data.
        learner: Networks, critics and horizon of both players.
        policy_update: The trust region of both players.
        game: The phases.
        labels: What counts as a failure.
        risk_model: How the risk is predicted and calibrated.
        gate: Where the adversary may push.
        min_open_steps: The adversary's policy is left alone on a rollout with fewer open steps.
        reliability_updates: Updates of the protagonist after which a reliability diagram is drawn.
        risk_seed: Seed of the splits and of the risk model's random choices.

    Differences from the paper: labels by a short horizon, squared features, held-out calibration and a gate that holds
    a budget, by default; the options have the paper's own choices, see ``conf/rcrarl_*_paper.yaml``. With the paper's
    threshold, set once, positive labels vanish as the policy improves, and with them the adversary.

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025.
    """

    num_fits: Tensor
    """Fits of the risk model so far. Scalar."""

    def __init__(
        self,
        spaces: Spaces,
        *,
        learner: Learner = Learner(),
        policy_update: TrustRegion = TrustRegion(),
        game: Game = Game(),
        labels: LabelOptions | None = None,
        risk_model: RiskModelOptions | None = None,
        gate: GateOptions | None = None,
        min_open_steps: int = 500,
        reliability_updates: Sequence[int] = (6, 10, 30, 60, 100),
        risk_seed: int = 0,
    ) -> None:
        super().__init__(spaces, learner=learner, policy_update=policy_update, game=game)
        if min_open_steps < 1:
            raise ValueError(f"`min_open_steps` must be at least 1, got {min_open_steps}.")
        self.label_options = read_options(LabelOptions, labels)
        self.risk_options = read_options(RiskModelOptions, risk_model)
        self.gate_options = read_options(GateOptions, gate)
        if self.label_options.source == "horizon" and not spaces.can_fail:
            raise ValueError(
                "`labels.source: horizon` needs a task whose episodes can fail, and those of this one never do; "
                "use `batch_quantile`."
            )
        self.horizon_steps = self.label_options.steps(spaces.step_seconds)
        self.min_open_steps, self.risk_seed = min_open_steps, risk_seed
        self.reliability_updates = tuple(reliability_updates)
        self.threshold = self.label_options.make_threshold()
        self.calibrator = self.risk_options.make_calibrator(spaces.obs_dim)
        self.gate = self.gate_options.make_gate()
        self.states = self.risk_options.make_buffer(spaces.obs_dim, self.calibrator.predictor.history)
        self.calibrated_metrics = risk_metrics(self.risk_options.num_bins)
        self.raw_metrics = risk_metrics(self.risk_options.num_bins)
        self.register_buffer("num_fits", torch.zeros((), dtype=torch.long))
        self._scored: dict[str, ScoredStates] = {}
        self.remember(labels=self.label_options, risk_model=self.risk_options, gate=self.gate_options)
        self.remember(min_open_steps=min_open_steps, reliability_updates=reliability_updates, risk_seed=risk_seed)

    @property
    def num_protagonist_updates(self) -> int:
        """Updates of the protagonist so far."""
        updates, game = int(self.num_updates), self.game
        cycles, rest = divmod(max(updates - game.warmup_updates, 0), game.cycle)
        return (
            min(updates, game.warmup_updates) + cycles * game.protagonist_updates + min(rest, game.protagonist_updates)
        )

    def make_adversary(self) -> Adversary:
        """Return the gated adversary for one rollout."""
        return GatedAdversary(self.adversary, self.calibrator, self.gate, self.gate_options.signal)

    def on_fit_start(self) -> None:
        """Check that somebody supplies the test returns, where the labels need them.

        Raises:
            ValueError: If nobody does.
        """
        options = self.label_options
        if options.source == "return_threshold" and options.threshold_mode != "batch":
            callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]  # set in its constructor
            if not any(getattr(callback, "tests_learned_adversary", False) for callback in callbacks):
                raise ValueError(
                    f"`labels.threshold_mode: {options.threshold_mode}` needs tests against the learned adversary: "
                    "`attacks.attackers` must hold 'learned' and `attacks.every_n_epochs` be positive."
                )

    def on_attack_tested(self, mean_return: float) -> None:
        """Take in a test of the protagonist against the learned adversary.

        Args:
            mean_return: Mean return of the test episodes, in units of reward.
        """
        if self.label_options.threshold_mode != "batch":
            self.threshold.update(torch.tensor([mean_return]))

    def training_step(self, batch: Rollout, batch_idx: int) -> None:
        """Learn the risk from a rollout of the protagonist's phase, then improve the player whose phase it is."""
        self._scored = {}
        if batch.attack is not None:
            self._log_gate(batch.attack)
            if self.phase == "protagonist":
                with self.timed("risk"):
                    self._learn_risk(batch, batch.attack)
        super().training_step(batch, batch_idx)

    def improve(self, name: Phase, player: ActorCritic, batch: RolloutBatch) -> None:
        """Update a player, see :meth:`RARL.improve`; the adversary's policy only where enough steps were open."""
        if name == "protagonist" or self._enough_open(batch.weights):
            super().improve(name, player, batch)
            return
        # Value targets alone: no advantage counts, so there is nothing to standardise advantages by.
        self._fit_value(player, estimate_advantages(player, batch, self.learner), self.optimizers_of(name)[1])
        player.normalizer.update(batch.observations)

    def _enough_open(self, weights: Tensor) -> bool:
        num_open = int(all_reduce_sum((weights > 0.0).sum()))
        skipped = num_open < self.min_open_steps
        self.log_metrics({"adversary/skipped": float(skipped)})
        return not skipped

    def _learn_risk(self, batch: Rollout, attack: AttackRecord) -> None:
        """Score the risk model on a rollout that it has not seen, then refit it and set the gate."""
        if self.label_options.threshold_mode == "batch":
            returns = torch.cat([episodes.returns for episodes in gather_objects(batch.episodes.to("cpu"))])
            self.threshold.update(returns)
        labels, known = self.label_options.label(
            batch, horizon_steps=self.horizon_steps, threshold=float(self.threshold.threshold)
        )
        features = self._features(batch.transitions)
        evidence = None
        if bool(self.calibrator.fitted) and bool(all_reduce_sum(known.sum()) > 0):
            evidence = self._score(features[known], labels[known], attack.episodes[known], attack)
        self._append(features[known], labels[known], attack.episodes[known])
        if (self.num_protagonist_updates + 1) % self.risk_options.update_every == 0 and self.states.num_states > 0:
            self._fit(features, evidence)

    def _features(self, transitions: RolloutBatch) -> Tensor:
        """Return what the predictor reads, as it was read in acting. Shape ``[T, N, O]`` or ``[T, N, L, O]``."""
        length = self.calibrator.predictor.history
        observations = transitions.observations
        return observations if length is None else stack_history(observations, transitions.ended, length)

    def _score(self, features: Tensor, labels: Tensor, episodes: Tensor, attack: AttackRecord) -> GateEvidence:
        """Log how good the risk is on states ``[M]`` that it has not seen, and tell it to the gate."""
        risks = {"raw": self.calibrator.raw_risk(features), "calibrated": self.calibrator(features)}
        self._scored = {f"{name}, unseen rollout": ScoredStates(risk, labels, episodes) for name, risk in risks.items()}
        values: dict[str, float] = {}
        for name, metrics in (("raw", self.raw_metrics), ("calibrated", self.calibrated_metrics)):
            metrics.reset()
            metrics.update(risks[name], labels, trajectory_ids=episodes)
            computed = {key: float(value) for key, value in metrics.compute().items()}
            values |= {f"risk/{key}_raw": computed[f"risk/{key}"] for key in RAW_METRICS} if name == "raw" else computed
        self.log_metrics({key: value for key, value in values.items() if not math.isnan(value)})
        return GateEvidence(
            auroc=values["risk/auroc"],
            brier_skill=brier_skill_score(values["risk/brier"], values["risk/base_rate"]),
            open_fraction=_share(attack.is_open, ~attack.explored),
        )

    def _append(self, features: Tensor, labels: Tensor, episodes: Tensor) -> None:
        """Add the states of all ranks, in the same order on each, to the data of the risk model."""
        gathered = gather_objects(tuple(column.cpu() for column in (features, labels, episodes)))
        device = self.states.stored_labels.device
        self.states.append(*(torch.cat(columns).to(device) for columns in zip(*gathered, strict=True)))

    def _fit(self, features: Tensor, evidence: GateEvidence | None) -> None:
        """Refit the risk model to the data, and set the gate by the risks of the latest states."""
        states = self.states
        # A seed for each fit instead of one stream: a resumed run and all ranks draw the same without further state.
        generator = torch.Generator().manual_seed(self.risk_seed + 1_000_003 * (int(self.num_fits) + 1))
        held_out = self.risk_options.hold_out(states, generator)
        data = (states.observations, states.labels, states.trajectory_ids)
        fit = self.calibrator.fit(*data, held_out=held_out, generator=generator)
        self.num_fits += 1
        if self._scored:
            observations, labels, episodes = (column[fit.calibrated_on] for column in data)
            in_sample = ScoredStates(self.calibrator(observations), labels, episodes)
            self._scored["calibrated, data it was fitted to"] = in_sample
        risk = gate_risk(self.calibrator, features, self.gate_options.signal).flatten()
        risk = torch.cat(gather_objects(risk.cpu())).to(risk.device)
        self.gate.update(risk, base_rate=fit.base_rate, evidence=evidence)
        threshold = float(self.threshold.threshold)
        self.log_metrics({
            "risk/fit_base_rate": fit.base_rate,
            "risk/fit_trajectories": float(fit.num_trajectories),
            "risk/degenerate": float(fit.degenerate),
            "gate/threshold": float(self.gate.threshold),
            "gate/skill": float(self.gate.skill),
            "gate/budget": float(self.gate.requested_fraction),
            **({} if math.isnan(threshold) else {"risk/return_threshold": threshold}),
        })

    def _log_gate(self, attack: AttackRecord) -> None:
        metrics = {
            "gate/open_fraction": _share(attack.is_open, torch.ones_like(attack.is_open)),
            "gate/open_fraction_ruled": _share(attack.is_open, ~attack.explored),
            "gate/mean_risk_open": _share(attack.risk.nan_to_num(), attack.is_open),
            "gate/force_rms": float(force_rms(attack)),
        }
        self.log_metrics({key: value for key, value in metrics.items() if not math.isnan(value)})

    def reliability_states(self) -> dict[str, ScoredStates] | None:
        """Return what a reliability diagram shows, after the updates of the protagonist that ask for one.

        Returns:
            By name: the raw and the calibrated risks of a rollout that the model had not seen, and the calibrated ones
            of the data that the map was then fitted to; None where there is nothing to draw.
        """
        is_time = self.num_protagonist_updates in self.reliability_updates
        return self._scored if is_time and self._scored else None


def _share(values: Tensor, among: Tensor) -> float:
    """Average values where a mask holds, over all ranks; not a number where it holds nowhere."""
    total, count = all_reduce_sum(torch.stack([values[among].double().sum(), among.sum().double()]))
    return float(total / count)
