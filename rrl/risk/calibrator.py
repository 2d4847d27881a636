"""The risk calibrator: a predictor and a calibration map, fitted together and never to the same trajectories."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rrl.checks import require_tensor
from rrl.risk.calibration import CalibrationMap
from rrl.risk.predictors import RiskPredictor


class RiskCalibrator(nn.Module):
    """A model of the calibrated probability that a state leads to a failure.

    `fit` it to the labelled states of the last iterations. On several processes every rank must be given the same
    gathered data and a generator in the same state; the models then are equal without communication. Keep the
    parameters out of every other optimiser.

    References:
        Mou and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025, Algorithm 2.
    """

    fitted: Tensor
    """True after the first fit. Boolean scalar."""

    def __init__(self, predictor: RiskPredictor, calibration_map: CalibrationMap) -> None:
        super().__init__()
        self.predictor, self.calibration_map = predictor, calibration_map
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(
        self,
        observations: Tensor,
        labels: Tensor,
        trajectory_ids: Tensor,
        *,
        held_out: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Fit the predictor to some trajectories and the calibration map to the others; mark the samples of the latter.

        ``held_out``, boolean ``[M]``, is True for the samples that only the calibration map sees, which must be whole
        trajectories; where there are none the map is the identity. With None, the paper's choice, both see everything:
        the calibration error on that data then is zero by construction and means nothing. Other arguments as in
        `LabelledStates` and `RiskPredictor.fit`.
        """
        if observations.shape[0] == 0:
            raise ValueError(f"`observations` must hold at least one sample, got shape {list(observations.shape)}.")
        require_tensor("bool", observations.shape[:1], labels=labels)
        require_tensor("int64", observations.shape[:1], trajectory_ids=trajectory_ids)
        for_predictor, for_map = _split(trajectory_ids, held_out)
        self.predictor.fit(observations[for_predictor], labels[for_predictor], generator=generator)
        if for_map.any():
            self.calibration_map.fit(self.predictor(observations[for_map]), labels[for_map])
        else:
            self.calibration_map.reset()
        self.fitted.fill_(True)
        return for_map

    @torch.no_grad()
    def forward(self, observations: Tensor) -> Tensor:
        """Predict the calibrated risk ``[...]`` of raw observations ``[..., O]``, or histories ``[..., L, O]``.

        One half everywhere before the first fit. Not differentiable: the risk decides, it is never optimised against.
        """
        risk: Tensor = self.calibration_map(self.predictor(observations))
        return risk

    def signal(self, observations: Tensor, kind: Literal["calibrated", "raw"]) -> Tensor:
        """Predict the risk as it is asked for, as ``forward`` or as `raw_risk` does."""
        risk: Tensor = self(observations) if kind == "calibrated" else self.raw_risk(observations)
        return risk

    @torch.no_grad()
    def raw_risk(self, observations: Tensor) -> Tensor:
        """Predict the risk without calibration, as ``forward`` does: what the calibration is compared with."""
        risk: Tensor = self.predictor(observations).sigmoid()
        return risk


def _split(trajectory_ids: Tensor, held_out: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return masks ``[M]`` of the samples for the predictor and for the calibration map."""
    if held_out is None:
        everything = torch.ones_like(trajectory_ids, dtype=torch.bool)
        return everything, everything
    require_tensor("bool", trajectory_ids.shape, held_out=held_out)
    if held_out.all():
        raise ValueError("`held_out` must leave samples to the predictor, got all of them.")
    if torch.isin(trajectory_ids[held_out], trajectory_ids[~held_out]).any():
        raise ValueError("`held_out` must hold whole trajectories, got parts of some.")
    return ~held_out, held_out
