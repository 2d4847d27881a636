"""On a GPU: everything that learns lives there, the worlds stay on the CPU, and a run goes on where it stopped."""

from __future__ import annotations

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from rrl.diffusion import (
    CausalGRU,
    NoGuidance,
    PaperGuidance,
    QuantileConditional,
    ResidualMLP,
    RowwiseGRU,
    TemporalUNet,
    TransitionGradient,
    WorstOfM,
)
from tests.fitting import adrrl, trajectories

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]
WHOLE = [TemporalUNet(channels=(8, 16)), CausalGRU(width=8), ResidualMLP(hidden_dim=16, num_layers=1)]
CASES = [(denoiser, rule) for denoiser in WHOLE for rule in (NoGuidance, PaperGuidance, WorstOfM, QuantileConditional)]
ROWWISE = (NoGuidance, WorstOfM, QuantileConditional, TransitionGradient)
CASES += [(RowwiseGRU(width=8, hidden_dim=8), rule) for rule in ROWWISE]


class Devices(Callback):
    """Where a module's tensors are while it trains; when the training is over, Lightning brings them back."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: object) -> None:
        self.seen = {tensor.device.type for tensor in pl_module.state_dict().values()}


@pytest.mark.parametrize(("denoiser", "rule"), CASES, ids=str)
def test_adrrl_trains_on_a_gpu(denoiser, rule):
    data = trajectories()
    module = adrrl(data, denoiser=denoiser, guidance=rule(alpha=0.25))
    devices = Devices()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="gpu", devices=1, max_epochs=1, callbacks=[devices], **quiet)
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 2
    assert devices.seen == {"cuda"}
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())
