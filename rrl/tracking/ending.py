"""What is done once, when a run has reached its end."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback


class EndCallback(Callback, ABC):
    """Does something at the end of a run, also of one that was killed between its last checkpoint and that.

    Such a run has nothing left to train when it goes on, and Lightning then begins and ends no training.
    """

    _has_ended = False

    @abstractmethod
    def at_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do it; on all processes."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a training."""
        self._has_ended = True
        self.at_end(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a run without a training."""
        if not self._has_ended:
            self.at_end(trainer, pl_module)
