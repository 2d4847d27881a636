"""Risk learning in a run: label a rollout, score the risk model on it, refit the model to it, set the gate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least, require_one_of
from rrl.distributed import all_reduce_sum, gather_objects
from rrl.random_streams import Purpose, seeded_globally, torch_stream
from rrl.risk.calibration import CalibrationMap, Histogram, HistogramBinning, IdentityCalibration, IsotonicCalibration
from rrl.risk.calibrator import RiskCalibrator
from rrl.risk.dataset import LabelledStates, hold_out_newest, hold_out_trajectories, stack_history
from rrl.risk.gate import Gate, GateEvidence, RiskGate
from rrl.risk.gate_snapshot import signal_of
from rrl.risk.label_sources import LabelSource
from rrl.risk.metrics import ScoredStates, brier_skill_score, risk_metrics
from rrl.risk.predictors import Logistic, Predictor
from rrl.risk.scaling import PlattScaling, TemperatureScaling
from rrl.spaces import Spaces
from rrl.types import AttackRecord, Rollout, RolloutBatch

RANDOM_SHARE = 0.2
"""Share of the trajectories that ``held_out: random`` keeps for the calibration map."""
RAW_METRICS = ("brier", "nll", "ece", "ece_equal_mass")
"""Metrics that calibration is meant to improve, which are logged without it as well."""
MAPS: dict[str, Callable[[], CalibrationMap]] = {
    "platt": PlattScaling,
    "temperature": TemperatureScaling,
    "isotonic": IsotonicCalibration,
    "none": IdentityCalibration,
}
"""Calibration maps without settings."""


@dataclass(frozen=True, kw_only=True)
class RiskModel:
    """How the risk is predicted and calibrated.

    The paper's: ``predictor: StochasticLogistic``, ``calibration`` of equal widths without shrinkage,
    ``held_out=none``, ``buffer_iterations=None``, ``update_every=2``.
    """

    predictor: Predictor = Logistic()
    """The model of the raw risk."""
    calibration: Histogram | Literal["platt", "temperature", "isotonic", "none"] = Histogram()
    """The map from raw risks to calibrated ones; see `rrl.risk.calibration` and `rrl.risk.scaling`."""
    held_out: Literal["newest", "random", "none"] = "newest"
    """Trajectories that only the calibration map sees: those of the newest rollout, or a random fifth; with ``none``
    predictor and map see everything."""
    buffer_capacity: int = 100_000
    """States to fit to, at most."""
    buffer_iterations: int | None = 5
    """Rollouts of the protagonist to fit to; all where None."""
    update_every: int = 1
    """Updates of the protagonist between two fits."""
    error_bins: int = 20
    """Bins of the calibration errors that are logged."""
    reliability_updates: tuple[int, ...] = (6, 10, 30, 60, 100)
    """Updates of the protagonist after which a reliability diagram is drawn."""
    seed: int = 0
    """Seed of the splits and of the predictor's random choices."""

    def __post_init__(self) -> None:
        if not isinstance(self.calibration, Histogram) and self.calibration not in MAPS:
            raise ValueError(f"`calibration` must be a histogram or one of {sorted(MAPS)}, got {self.calibration!r}.")
        require_one_of(("newest", "random", "none"), held_out=self.held_out)
        require_at_least(1, buffer_capacity=self.buffer_capacity, buffer_iterations=self.buffer_iterations)
        require_at_least(1, update_every=self.update_every, error_bins=self.error_bins)

    def build(self, obs_dim: int) -> RiskCalibrator:
        """Build predictor and map, not fitted. The global random stream is left as it was."""
        chosen = self.calibration
        with seeded_globally(Purpose.RISK_NETWORK, self.seed):
            predictor = self.predictor.build(obs_dim)
        return RiskCalibrator(predictor, HistogramBinning(chosen) if isinstance(chosen, Histogram) else MAPS[chosen]())


class RiskReport(NamedTuple):
    """What was learnt from one rollout."""

    metrics: dict[str, float]
    """What is to be logged, ``risk/*`` and ``gate/*``; equal on all ranks."""
    scored: dict[str, ScoredStates]
    """What a reliability diagram shows, by name: the raw and the calibrated risks of this rollout, which the model had
    not seen, and the calibrated ones of the data that the map was then fitted to. Empty before the first fit."""


class RiskLearner(nn.Module):
    """The labels, the risk model with its data, and the gate of a run, if it has one; all that a resumed run needs."""

    num_fits: Tensor
    """Fits of the risk model so far. Scalar."""

    def __init__(self, spaces: Spaces, *, labels: LabelSource, model: RiskModel, gate: Gate | None = Gate()) -> None:
        super().__init__()
        self.settings = model
        self.labeller = labels.build(spaces)
        self.calibrator = model.build(spaces.obs_dim)
        self.gate = None if gate is None else RiskGate(gate)
        length = self.calibrator.predictor.history
        shape = (spaces.obs_dim,) if length is None else (length, spaces.obs_dim)
        self.states = LabelledStates(shape, capacity=model.buffer_capacity, max_iterations=model.buffer_iterations)
        self.register_buffer("num_fits", torch.zeros((), dtype=torch.long))

    def learn(self, rollout: Rollout, *, update: int) -> RiskReport:
        """Score the risk model on a rollout that it has not seen, then refit it and set the gate.

        The rollout is one for the protagonist's update number ``update``, from 1, and longer than the horizon of the
        labels. Where it has no adversary a gate stays as it is.
        """
        labels, known = self.labeller(rollout)
        features = self._features(rollout.transitions)
        new = (features[known], labels[known], rollout.episode_ids[known])
        report, evidence = RiskReport({}, {}), None
        if bool(self.calibrator.fitted) and bool(all_reduce_sum(known.sum()) > 0):
            evidence = self._score(*new, rollout.attack, report)
        self.states.append(*_of_all_ranks(*new))
        if update % self.settings.update_every == 0 and self.states.num_states > 0:
            base_rate = self._fit(report)
            if rollout.attack is not None and self.gate is not None:
                self._set_gate(self.gate, features, base_rate, evidence, report)
        return RiskReport({key: value for key, value in report.metrics.items() if not math.isnan(value)}, report.scored)

    def states_at_risk(self, rollout: Rollout, signal: Literal["calibrated", "raw"]) -> tuple[Tensor, Tensor]:
        """Return the simulator states of a rollout ``[P, S]`` and their risk ``[P]``, of all ranks, on the CPU.

        They are ordered by world, then by step, so that they do not depend on the number of processes.
        """
        risk = self.calibrator.signal(self._features(rollout.transitions), signal)
        states, risks = _of_all_ranks(rollout.simulator_states.transpose(0, 1).flatten(0, 1), risk.t().flatten())
        return states.cpu(), risks.cpu()

    def _features(self, transitions: RolloutBatch) -> Tensor:
        """Return what the predictor reads, as it was read in acting. Shape ``[T, N, O]`` or ``[T, N, L, O]``."""
        length = self.calibrator.predictor.history
        observations = transitions.observations
        return observations if length is None else stack_history(observations, transitions.ended, length)

    def _score(
        self, features: Tensor, labels: Tensor, episodes: Tensor, attack: AttackRecord | None, report: RiskReport
    ) -> GateEvidence | None:
        """Report how good the risk is on states ``[M]`` that it has not seen, and what that says about the gate."""
        risks = {"raw": self.calibrator.raw_risk(features), "calibrated": self.calibrator(features)}
        values: dict[str, dict[str, float]] = {}
        for name, risk in risks.items():
            report.scored[f"{name}, unseen rollout"] = ScoredStates(risk, labels, episodes)
            values[name] = risk_metrics(*_of_all_ranks(risk, labels, episodes), num_bins=self.settings.error_bins)
        report.metrics.update({f"risk/{key}_raw": values["raw"][key] for key in RAW_METRICS})
        calibrated = values["calibrated"]
        report.metrics.update({f"risk/{key}": value for key, value in calibrated.items()})
        if attack is None:
            return None
        return GateEvidence(
            auroc=calibrated["auroc"],
            brier_skill=brier_skill_score(calibrated["brier"], calibrated["base_rate"]),
            open_fraction=_mean_where(~attack.explored, attack.is_open),
        )

    def _fit(self, report: RiskReport) -> float:
        """Refit the risk model to the data, and return the share of failures in them."""
        self.num_fits += 1
        # A stream for each fit instead of one: a resumed run and all ranks draw the same without further state.
        generator = torch_stream(Purpose.RISK_FIT, self.settings.seed, int(self.num_fits))
        data = (self.states.observations, self.states.labels, self.states.trajectory_ids)
        calibrated_on = self.calibrator.fit(*data, held_out=self._held_out(generator), generator=generator)
        if report.scored:
            observations, labels, episodes = (column[calibrated_on] for column in data)
            in_sample = ScoredStates(self.calibrator(observations), labels, episodes)
            report.scored["calibrated, data it was fitted to"] = in_sample
        base_rate = float(self.states.labels.double().mean())
        report.metrics.update({
            "risk/fit_base_rate": base_rate,
            "risk/fit_trajectories": float(self.states.trajectory_ids.unique().numel()),
            "risk/degenerate": float(self.calibrator.predictor.degenerate),
            "risk/return_threshold": self.labeller.return_threshold,
        })
        return base_rate

    def _set_gate(
        self, gate: RiskGate, features: Tensor, base_rate: float, evidence: GateEvidence | None, report: RiskReport
    ) -> None:
        """Set the gate by the risks of the latest states."""
        (risk,) = _of_all_ranks(signal_of(self.calibrator, gate, features).flatten())
        gate.update(risk, base_rate=base_rate, evidence=evidence)
        report.metrics.update({
            "gate/threshold": float(gate.threshold),
            "gate/skill": float(gate.skill),
            "gate/budget": float(gate.requested_fraction),
        })

    def _held_out(self, generator: torch.Generator) -> Tensor | None:
        """Choose the states that only the calibration map sees; None where it sees what the predictor sees."""
        states = self.states
        if self.settings.held_out == "newest":
            return hold_out_newest(states.trajectory_ids, states.newest, generator=generator)
        if self.settings.held_out == "random":
            return hold_out_trajectories(states.trajectory_ids, RANDOM_SHARE, generator=generator)
        return None


def gate_metrics(attack: AttackRecord) -> dict[str, float]:
    """Say how open the gate stood in a rollout, over all ranks: ``gate/*``, without what is undefined."""
    values = {
        "gate/open_fraction": _mean_where(torch.ones_like(attack.is_open), attack.is_open),
        "gate/open_fraction_ruled": _mean_where(~attack.explored, attack.is_open),
        "gate/mean_risk_open": _mean_where(attack.is_open, attack.risk.nan_to_num()),
    }
    return {key: value for key, value in values.items() if not math.isnan(value)}


def _of_all_ranks(*columns: Tensor) -> list[Tensor]:
    """Join columns of states over all ranks, in the same order on each."""
    gathered = gather_objects(tuple(column.cpu() for column in columns))
    return [torch.cat(parts).to(columns[0].device) for parts in zip(*gathered, strict=True)]


def _mean_where(mask: Tensor, values: Tensor) -> float:
    """Average values where a mask holds, over all ranks; not a number where it holds nowhere."""
    total, count = all_reduce_sum(torch.stack([values[mask].double().sum(), mask.sum().double()]))
    return float(total / count)
