"""The options of the risk model as plain records, as a configuration or a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from rrl.risk.buffer import LabelledStates
from rrl.risk.calibration_maps import CalibrationMap, HistogramBinning, IdentityCalibration
from rrl.risk.calibrator import RiskCalibrator
from rrl.risk.gate import RiskGate
from rrl.risk.isotonic import IsotonicCalibration
from rrl.risk.labels import (
    FailureLabels,
    failure_labels_batch_quantile,
    failure_labels_below_return,
    failure_labels_within_horizon,
)
from rrl.risk.networks import EnsembleRiskModel, MLPRiskModel
from rrl.risk.predictors import LogisticRiskModel, RiskPredictor
from rrl.risk.return_threshold import ReturnThreshold
from rrl.risk.scaling import PlattScaling, TemperatureScaling
from rrl.risk.sequence import GRURiskModel
from rrl.risk.trajectories import hold_out_newest, hold_out_trajectories
from rrl.types import Rollout

Options = TypeVar("Options")
RANDOM_SHARE = 0.2
"""Share of the trajectories that ``held_out: random`` keeps for the calibration map."""


def read_options(options_class: type[Options], given: Options | Mapping[str, Any] | None) -> Options:
    """Accept options as a record, as the mapping that a checkpoint holds, or not at all.

    Args:
        options_class: The record's class.
        given: What was given; the defaults where None.

    Returns:
        The record.

    Example:
        >>> read_options(GateOptions, {"budget": 0.3}).budget
        0.3
    """
    if given is None:
        return options_class()
    return options_class(**given) if isinstance(given, Mapping) else given


@dataclass(frozen=True)
class LabelOptions:
    """What counts as a failure; see `rrl.risk.labels` and `ReturnThreshold`.

    The paper's Algorithm 1 is ``return_threshold`` with mode ``once``.
    """

    source: Literal["horizon", "return_threshold", "batch_quantile"] = "horizon"
    """``horizon``: the episode terminates soon; ``return_threshold``: its return is low; ``batch_quantile``: the
    rewards to come are low, for tasks that cannot fail."""
    horizon_seconds: float = 0.5
    """How soon (``horizon``, ``batch_quantile``), simulated seconds."""
    horizon_steps: int | None = None
    """The same in environment steps, which then counts."""
    threshold_mode: Literal["once", "rolling", "batch"] = "batch"
    """Returns of which the threshold is a percentile: the first tests, the last tests, or the rollout's own."""
    percentile: float = 20.0
    """Percentile of the threshold."""
    window: int = 5
    """Number of test returns of the threshold."""
    fraction: float = 0.2
    """Share of the states that counts as failing (``batch_quantile``)."""

    def make_threshold(self) -> ReturnThreshold:
        """Build the threshold of the returns. Options outside their ranges raise ValueError, here as below."""
        return ReturnThreshold(self.threshold_mode, percentile=self.percentile, window=self.window)

    def steps(self, step_seconds: float | None) -> int:
        """Convert the horizon to environment steps.

        Args:
            step_seconds: Simulated time of a step; None where it is not known.

        Returns:
            Steps, at least 1.

        Raises:
            ValueError: If the horizon is not positive, or is in seconds where their number is not known.

        Example:
            >>> LabelOptions(horizon_seconds=0.5).steps(0.05)
            10
        """
        if self.horizon_steps is not None:
            if self.horizon_steps < 1:
                raise ValueError(f"`horizon_steps` must be at least 1, got {self.horizon_steps}.")
            return self.horizon_steps
        if not self.horizon_seconds > 0.0:
            raise ValueError(f"`horizon_seconds` must be positive, got {self.horizon_seconds}.")
        if step_seconds is None:
            raise ValueError("`horizon_steps` must be given where the environment does not tell the length of a step.")
        return max(round(self.horizon_seconds / step_seconds), 1)

    def label(self, rollout: Rollout, *, horizon_steps: int, threshold: float) -> FailureLabels:
        """Label the states of a rollout with an adversary.

        Close to the rollout's end a failure is seen but not that there is none: with a horizon, those states are left
        out whatever became of them, or failures would be counted too often.

        Args:
            rollout: The rollout.
            horizon_steps: What `steps` returned.
            threshold: Failure threshold of the returns; used by ``return_threshold`` alone.

        Returns:
            Labels and where they are known.

        Raises:
            ValueError: If there was no adversary, or the rollout is no longer than the horizon.
        """
        transitions = rollout.transitions
        ends = (transitions.terminated, transitions.truncated)
        if self.source == "return_threshold":
            if rollout.attack is None:
                raise ValueError("`rollout` must have an adversary.")
            previous = rollout.attack.previous_returns
            return failure_labels_below_return(transitions.rewards, *ends, threshold, previous_returns=previous)
        num_decided = len(transitions.rewards) - horizon_steps
        if num_decided < 1:
            raise ValueError(
                f"the horizon of the labels must be shorter than a rollout of {len(transitions.rewards)} steps "
                f"(`num_steps`), got {horizon_steps} steps."
            )
        if self.source == "horizon":
            labels, known = failure_labels_within_horizon(*ends, horizon_steps=horizon_steps)
        else:
            labels, known = failure_labels_batch_quantile(
                transitions.rewards, *ends, horizon_steps=horizon_steps, fraction=self.fraction
            )
        decided = (torch.arange(len(known), device=known.device) <= num_decided).unsqueeze(1)
        return FailureLabels(labels & decided, known & decided)


@dataclass(frozen=True)
class RiskModelOptions:
    """How the risk is predicted and calibrated; see `rrl.risk.predictors`, `rrl.risk.calibration_maps` and their kin.

    The paper's: ``squares=False``, ``solver=sgd``, ``binning=equal_width``, ``shrinkage=0``, ``held_out=none``,
    ``buffer_iterations=None``, ``update_every=2``.
    """

    predictor: Literal["logistic", "mlp", "ensemble", "gru"] = "logistic"
    """The model of the raw risk."""
    squares: bool = True
    """Squares as features (``logistic``)."""
    solver: Literal["newton", "sgd"] = "newton"
    """How it is fitted (``logistic``)."""
    l2: float = 1e-4
    """Penalty on the weights (``logistic`` with ``newton``)."""
    hidden_sizes: tuple[int, ...] = (32, 32)
    """Widths of the hidden layers (``mlp``, ``ensemble``); the first one is the width of the ``gru``."""
    num_members: int = 5
    """Networks of the ``ensemble``."""
    num_updates: int = 400
    """Gradient steps of a fit (``mlp``, ``ensemble``, ``gru``)."""
    history: int = 8
    """Observations that a prediction reads (``gru``)."""
    calibration: Literal["histogram", "platt", "temperature", "isotonic", "none"] = "histogram"
    """The map from raw risks to calibrated ones."""
    num_bins: int = 20
    """Bins of ``histogram``, and of the calibration errors that are logged."""
    binning: Literal["equal_mass", "equal_width"] = "equal_mass"
    """Bins of ``histogram``."""
    shrinkage: float = 20.0
    """Pseudo-counts of a bin of ``histogram``."""
    held_out: Literal["newest", "random", "none"] = "newest"
    """Trajectories that only the calibration map sees: those of the newest rollout, or a random fifth; with ``none``
    predictor and map see everything."""
    buffer_capacity: int = 100_000
    """States to fit to, at most."""
    buffer_iterations: int | None = 5
    """Rollouts of the protagonist to fit to; all where None."""
    update_every: int = 1
    """Updates of the protagonist between two fits."""

    def make_calibrator(self, obs_dim: int) -> RiskCalibrator:
        """Build the predictor with its calibration map.

        Args:
            obs_dim: Observation size, ``O``.

        Returns:
            A calibrator that is not fitted. The global random stream is left as it was.

        Raises:
            ValueError: If ``update_every`` is below 1.
        """
        if self.update_every < 1:
            raise ValueError(f"`update_every` must be at least 1, got {self.update_every}.")
        with torch.random.fork_rng(devices=[]):
            predictor = self._make_predictor(obs_dim)
        return RiskCalibrator(predictor, self._make_map())

    def make_buffer(self, obs_dim: int, history: int | None) -> LabelledStates:
        """Build the data set that the calibrator is fitted to; ``history`` is that of its predictor."""
        shape = (obs_dim,) if history is None else (history, obs_dim)
        return LabelledStates(shape, capacity=self.buffer_capacity, max_iterations=self.buffer_iterations)

    def hold_out(self, states: LabelledStates, generator: torch.Generator) -> Tensor | None:
        """Choose the states that only the calibration map sees.

        Args:
            states: The data set.
            generator: Source of random choices, on the CPU.

        Returns:
            Boolean mask of the states held, shape ``[M]``; None where the map sees what the predictor sees.

        Raises:
            ValueError: If ``held_out`` is unknown.
        """
        if self.held_out == "none":
            return None
        if self.held_out == "newest":
            return hold_out_newest(states.trajectory_ids, states.newest, generator=generator)
        if self.held_out == "random":
            return hold_out_trajectories(states.trajectory_ids, RANDOM_SHARE, generator=generator)
        raise ValueError(f"`held_out` must be 'newest', 'random' or 'none', got {self.held_out!r}.")

    def _make_predictor(self, obs_dim: int) -> RiskPredictor:
        sizes, updates = tuple(self.hidden_sizes), self.num_updates
        if self.predictor == "logistic":
            return LogisticRiskModel(obs_dim, squares=self.squares, solver=self.solver, l2=self.l2)
        if self.predictor == "mlp":
            return MLPRiskModel(obs_dim, hidden_sizes=sizes, num_updates=updates)
        if self.predictor == "ensemble":
            return EnsembleRiskModel(obs_dim, num_members=self.num_members, hidden_sizes=sizes, num_updates=updates)
        if self.predictor == "gru":
            return GRURiskModel(obs_dim, history=self.history, hidden_size=sizes[0], num_updates=updates)
        raise ValueError(f"`predictor` must be 'logistic', 'mlp', 'ensemble' or 'gru', got {self.predictor!r}.")

    def _make_map(self) -> CalibrationMap:
        if self.calibration == "histogram":
            return HistogramBinning(self.num_bins, binning=self.binning, shrinkage=self.shrinkage)
        maps = {
            "platt": PlattScaling,
            "temperature": TemperatureScaling,
            "isotonic": IsotonicCalibration,
            "none": IdentityCalibration,
        }
        if self.calibration not in maps:
            raise ValueError(f"`calibration` must be 'histogram' or one of {sorted(maps)}, got {self.calibration!r}.")
        calibration_map: CalibrationMap = maps[self.calibration]()
        return calibration_map


@dataclass(frozen=True)
class GateOptions:
    """Where the adversary may push; see `RiskGate`. The paper's: ``mode=fixed``, ``exploration=0``."""

    mode: Literal["fixed", "base_rate", "quantile", "adaptive"] = "quantile"
    """How the threshold is set."""
    threshold: float = 0.2
    """Risk above which ``fixed`` opens."""
    budget: float = 0.5
    """Share of the states in which the adversary may push (``quantile``, ``adaptive``)."""
    exploration: float = 0.05
    """Probability that a state is open whatever its risk; 1 is plain RARL."""
    skill_range: tuple[float, float] = (0.6, 0.8)
    """AUROC of no skill and of full skill (``adaptive``)."""
    signal: Literal["calibrated", "raw", "constant"] = "calibrated"
    """What the gate looks at. ``raw`` is the gate without calibration; ``constant`` with mode ``quantile`` opens at
    random with the same budget: controls that tell what calibration and risk contribute."""

    def make_gate(self) -> RiskGate:
        """Build the gate.

        Returns:
            A gate that is open until its first update.

        Raises:
            ValueError: If the signal is unknown.
        """
        if self.signal not in {"calibrated", "raw", "constant"}:
            raise ValueError(f"`signal` must be 'calibrated', 'raw' or 'constant', got {self.signal!r}.")
        low, high = self.skill_range
        return RiskGate(
            self.mode,
            threshold=self.threshold,
            budget=self.budget,
            exploration=self.exploration,
            skill_range=(low, high),
        )
