"""The parts together on a walk along a ledge: each rollout is scored before anything is fitted to it."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from rrl.risk import (
    GateEvidence,
    HistogramBinning,
    LabelledStates,
    LogisticRiskModel,
    RiskCalibrator,
    RiskGate,
    TrajectoryNumbering,
    brier_skill_score,
    failure_labels_within_horizon,
    hold_out_newest,
    risk_metrics,
)

EDGE = 3.0


def _walk(generator: torch.Generator, num_steps: int = 300, num_envs: int = 8) -> tuple[Tensor, Tensor]:
    """Positions of walkers that terminate beyond the edge on either side and then begin anew at zero."""
    position, positions, terminated = torch.zeros(num_envs), [], []
    for _ in range(num_steps):
        positions.append(position)
        position = position + 0.5 * torch.randn(num_envs, generator=generator)
        fallen = position.abs() > EDGE
        terminated.append(fallen)
        position = torch.where(fallen, 0.0, position)
    return torch.stack(positions).unsqueeze(-1), torch.stack(terminated)


def test_prequential_risk_is_skilled_calibrated_and_held_to_its_budget():
    generator = torch.Generator().manual_seed(0)
    calibrator, gate = RiskCalibrator(LogisticRiskModel(1), HistogramBinning(20)), RiskGate("adaptive", budget=0.3)
    states, metrics = LabelledStates((1,), capacity=20_000), risk_metrics()
    numbering = TrajectoryNumbering(num_envs=8)
    for _ in range(8):
        observations, terminated = _walk(generator)
        labels, known = failure_labels_within_horizon(terminated, torch.zeros_like(terminated), horizon_steps=6)
        ids = numbering(terminated, torch.zeros_like(terminated))
        evidence = None
        uniforms = torch.rand(terminated.shape, generator=generator)
        is_open, ruled = gate(calibrator(observations), uniforms), ~gate.explored(uniforms)
        if calibrator.fitted:
            metrics.reset()
            metrics.update(calibrator(observations)[known], labels[known], trajectory_ids=ids[known])
            values = {name: float(value) for name, value in metrics.compute().items()}
            skill = brier_skill_score(values["risk/brier"], values["risk/base_rate"])
            evidence = GateEvidence(values["risk/auroc"], skill, float(is_open[ruled].double().mean()))
        states.append(observations[known], labels[known], ids[known])
        held_out = hold_out_newest(states.trajectory_ids, states.newest, generator=generator)
        data = (states.observations, states.labels, states.trajectory_ids)
        fit = calibrator.fit(*data, held_out=held_out, generator=generator)
        gate.update(calibrator(observations).flatten(), base_rate=fit.base_rate, evidence=evidence)
    # Nobody can do better than the distance from the middle, which is all that matters here.
    attainable = float(binary_auroc(observations[known].abs().squeeze(-1), labels[known].long()))
    assert values["risk/auroc"] > 0.95 * attainable > 0.75
    assert values["risk/ece"] < 0.06
    assert skill > 0.1
    assert abs(evidence.open_fraction - 0.3) < 0.1
    assert gate.skill == 1.0
