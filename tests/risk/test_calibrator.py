"""The calibrator: no trajectory on both sides, and better risks on new trajectories."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rrl.risk.calibration import (
    CalibrationMap,
    Histogram,
    HistogramBinning,
    IdentityCalibration,
    IsotonicCalibration,
    equal_width_edges,
)
from rrl.risk.calibrator import RiskCalibrator
from rrl.risk.dataset import hold_out_trajectories
from rrl.risk.metrics import expected_calibration_error, reliability_curve
from rrl.risk.predictors import Logistic, RiskPredictor
from rrl.risk.scaling import PlattScaling, TemperatureScaling


def histogram() -> HistogramBinning:
    return HistogramBinning(Histogram(num_bins=10))


class RecordingPredictor(RiskPredictor):
    """Remembers which states it was fitted to and returns three times the observation."""

    def __init__(self) -> None:
        super().__init__(1, squares=False)
        self.seen = torch.zeros(0)

    def fit(self, observations: Tensor, labels: Tensor, *, generator: torch.Generator):
        """Record."""
        super().fit(observations, labels, generator=generator)
        self.seen = observations

    def fit_features(self, features: Tensor, labels: Tensor, *, generator: torch.Generator):
        """Learn nothing."""

    def logits(self, features: Tensor):
        """Return an overconfident logit."""
        return 3.0 * features[..., 0]


class RecordingMap(IdentityCalibration):
    """Remembers how many samples it was fitted to."""

    num_seen = 0

    def fit_map(self, risk_logits: Tensor, labels: Tensor):
        """Record."""
        self.num_seen = risk_logits.numel()


def _data(seed: int = 0, num_trajectories: int = 50, length: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn(num_trajectories * length, 1, generator=generator)
    labels = torch.rand(len(observations), generator=generator) < observations[:, 0].sigmoid()
    return observations, labels, torch.arange(num_trajectories).repeat_interleave(length)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def _fit(calibrator: RiskCalibrator, observations: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
    held_out = hold_out_trajectories(ids, 0.3, generator=_generator())
    return calibrator.fit(observations, labels, ids, held_out=held_out, generator=_generator())


def test_no_trajectory_is_in_both_sets():
    calibrator = RiskCalibrator(RecordingPredictor(), RecordingMap())
    observations, labels, ids = _data()
    seen_by_map = _fit(calibrator, observations, labels, ids)
    assert torch.equal(calibrator.predictor.seen, observations[~seen_by_map])
    assert calibrator.calibration_map.num_seen == seen_by_map.sum() == 15 * 40
    assert not set(ids[seen_by_map].tolist()) & set(ids[~seen_by_map].tolist())


def test_the_papers_choice_shows_everything_to_both():
    calibrator = RiskCalibrator(RecordingPredictor(), RecordingMap())
    observations, labels, ids = _data()
    assert calibrator.fit(observations, labels, ids, held_out=None, generator=_generator()).all()
    assert len(calibrator.predictor.seen) == calibrator.calibration_map.num_seen == len(labels)


@pytest.mark.parametrize("make", [histogram, PlattScaling, TemperatureScaling, IsotonicCalibration])
def test_calibration_on_held_out_trajectories_lowers_the_error_on_new_ones(make: Callable[[], CalibrationMap]):
    calibrator = RiskCalibrator(RecordingPredictor(), make())
    _fit(calibrator, *_data())
    observations, labels, _ = _data(seed=9, num_trajectories=200)
    raw, calibrated = (
        float(expected_calibration_error(reliability_curve(risk, labels, equal_width_edges(10))))
        for risk in (calibrator.raw_risk(observations), calibrator(observations))
    )
    assert calibrated < 0.5 * raw


def test_one_class_is_flagged_and_finite():
    calibrator = RiskCalibrator(Logistic().build(1), histogram())
    observations, labels, ids = _data(num_trajectories=5)
    _fit(calibrator, observations, torch.zeros_like(labels), ids)
    assert calibrator.predictor.degenerate
    assert ((calibrator(observations) > 0) & (calibrator(observations) < 0.05)).all()


def test_a_single_trajectory_leaves_the_map_the_identity():
    calibrator = RiskCalibrator(Logistic().build(1), histogram())
    _fit(calibrator, *_data())
    observations, labels, ids = _data(num_trajectories=1)
    _fit(calibrator, observations, labels, ids)
    assert torch.allclose(calibrator(observations), calibrator.raw_risk(observations))


@pytest.mark.parametrize("make", [histogram, PlattScaling, TemperatureScaling, IsotonicCalibration])
def test_a_checkpoint_loads_into_a_new_calibrator(make: Callable[[], CalibrationMap]):
    fitted, copy = (RiskCalibrator(Logistic().build(1), make()) for _ in range(2))
    observations, labels, ids = _data()
    _fit(fitted, observations, labels, ids)
    assert not copy.fitted
    copy.load_state_dict(fitted.state_dict())
    assert copy.fitted
    assert torch.equal(copy(observations), fitted(observations))


def test_the_same_data_and_generator_give_the_same_risks():
    first, second = (RiskCalibrator(Logistic().build(1), histogram()) for _ in range(2))
    observations, labels, ids = _data()
    for calibrator in (first, second):
        _fit(calibrator, observations, labels, ids)
    assert torch.equal(first(observations), second(observations))


def test_risks_carry_no_gradient():
    calibrator = RiskCalibrator(Logistic().build(1), histogram())
    assert not calibrator(torch.zeros(1, 1, requires_grad=True)).requires_grad


def test_bad_input_raises():
    calibrator = RiskCalibrator(Logistic().build(1), histogram())
    observations, labels, ids = _data()
    with pytest.raises(ValueError, match="`observations` must hold at least one sample"):
        calibrator.fit(observations[:0], labels[:0], ids[:0], held_out=None, generator=_generator())
    with pytest.raises(ValueError, match="`trajectory_ids` must be int64"):
        calibrator.fit(observations, labels, ids[:-1], held_out=None, generator=_generator())
    with pytest.raises(ValueError, match="`labels` must be boolean"):
        calibrator.fit(observations, labels[:-1], ids, held_out=None, generator=_generator())
    for held_out, message in (
        (ids[:-1] == 0, "`held_out` must be boolean with shape"),
        (ids >= 0, "`held_out` must leave samples to the predictor"),
        (torch.arange(len(ids)) < 50, "`held_out` must hold whole trajectories"),
    ):
        with pytest.raises(ValueError, match=message):
            calibrator.fit(observations, labels, ids, held_out=held_out, generator=_generator())
