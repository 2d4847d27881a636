"""On a GPU: everything that learns lives there, the worlds stay on the CPU, and a run goes on where it stopped."""

from __future__ import annotations

import pytest
import torch
from lightning import Trainer

from rrl.diffusion import (
    CausalGRU,
    NoGuidance,
    PaperGuidance,
    QuantileConditional,
    ResidualMLP,
    RowwiseGRU,
    TemporalUNet,
    WorstOfM,
)
from tests.fitting import adrrl, trajectories

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]
WHOLE = [TemporalUNet(channels=(8, 16)), CausalGRU(width=8), ResidualMLP(hidden_dim=16, num_layers=1)]
CASES = [(denoiser, rule) for denoiser in WHOLE for rule in (NoGuidance, PaperGuidance, WorstOfM, QuantileConditional)]
CASES += [(RowwiseGRU(width=8, hidden_dim=8), rule) for rule in (NoGuidance, WorstOfM, QuantileConditional)]


@pytest.mark.parametrize(("denoiser", "rule"), CASES, ids=str)
def test_adrrl_trains_on_a_gpu(denoiser, rule):
    data = trajectories()
    module = adrrl(data, denoiser=denoiser, guidance=rule(alpha=0.25))
    trainer = Trainer(
        accelerator="gpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 2
    assert {tensor.device.type for tensor in module.state_dict().values()} == {"cuda"}
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())
