"""The random states and the mark in a checkpoint."""

from __future__ import annotations

import io
import random

import numpy as np
import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from rrl.checkpoints import BestAndLastCheckpoint, RunState


def draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.randn(3).tolist()


def test_global_random_streams_continue_after_a_safe_round_trip():
    random.gauss(0, 1)
    np.random.randn()  # both keep half of a pair of Gaussian draws for the next call
    file = io.BytesIO()
    torch.save(RunState().state_dict(), file)
    expected = draw()
    file.seek(0)
    RunState().load_state_dict(torch.load(file, weights_only=True))
    assert draw() == expected


def test_the_last_checkpoint_is_renewed_in_epochs_that_do_not_improve(tmp_path):
    class Falling(LightningModule):
        """Its only metric is best in the first epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch, batch_idx):
            return self.weight.square().sum()

        def on_train_epoch_end(self):
            self.log("eval/return_mean", -float(self.current_epoch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        callbacks=[BestAndLastCheckpoint(dirpath=str(tmp_path))],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Falling(), DataLoader(TensorDataset(torch.zeros(2, 1)), batch_size=1))
    epochs = {name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 0, "last": 2}
