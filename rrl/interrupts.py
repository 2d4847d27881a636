"""Ctrl-C and SIGTERM: finish the iteration, save, and say so."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rrl.checkpoints.state import StoppedBetweenIterationsError
from rrl.tracking import MLflowRunLogger


class GracefulInterrupt(Callback):
    """Lets the running iteration end before Ctrl-C takes effect, as Lightning does for SIGTERM.

    In the middle of an iteration the policy may be half updated and experience half used; at its end the checkpoint
    continues exactly. The last iteration of an epoch ends with the evaluations and the checkpoint of that epoch. A
    second Ctrl-C stops at once and leaves the last checkpoint. Either signal marks the run as killed, not failed.
    """

    def __init__(self) -> None:
        self._requested = False
        self._previous: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signal of Ctrl-C."""
        self._previous = signal.signal(signal.SIGINT, self._request)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if Ctrl-C was pressed during the iteration."""
        is_last = batch_idx + 1 >= trainer.num_training_batches
        if self._requested and not is_last:
            raise StoppedBetweenIterationsError

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if Ctrl-C was pressed at the end of the epoch before, whose checkpoint is written."""
        if self._requested:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signal back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell MLflow whether the run was killed or failed."""
        self.on_train_end(trainer, pl_module)
        outcome = "KILLED" if isinstance(exception, (KeyboardInterrupt, SIGTERMException)) else "FAILED"
        for logger in trainer.loggers:
            if isinstance(logger, MLflowRunLogger):
                logger.outcome = outcome

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
        sys.stderr.write("\nStopping after this iteration. Press Ctrl-C again to stop at once.\n")
