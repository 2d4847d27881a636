"""Ctrl-C and SIGTERM: finish the iteration, save, and say so."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rrl.checkpoints.state import StoppedBetweenIterationsError, TerminatedBetweenIterationsError
from rrl.distributed import all_reduce_sum
from rrl.tracking import MLflowRunLogger

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulInterrupt(Callback):
    """Lets the running iteration end before Ctrl-C or SIGTERM takes effect, on all processes of a run at once.

    In the middle of an iteration the policy may be half updated and experience half used; at its end the checkpoint
    continues exactly. The last iteration of an epoch ends with the evaluations and the checkpoint of that epoch. A
    second Ctrl-C stops at once and leaves the last checkpoint. Either signal marks the run as killed, not failed.
    """

    def __init__(self) -> None:
        self._received: set[int] = set()
        self.has_begun = False
        """Whether the training has begun, after whatever a checkpoint holds was restored."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over both signals; the Trainer gives them back when it has ended."""
        self.has_begun = True
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if a signal came to any process during the iteration."""
        agreed = self._agreed(pl_module)
        if batch_idx + 1 < trainer.num_training_batches:
            stop_for(agreed, StoppedBetweenIterationsError, TerminatedBetweenIterationsError)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if a signal came at the end of the epoch before, whose checkpoint is written."""
        stop_for(self._agreed(pl_module), KeyboardInterrupt, SIGTERMException)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell MLflow whether the run was killed or failed, and let nothing disturb the last checkpoint."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        outcome = "KILLED" if isinstance(exception, (KeyboardInterrupt, SIGTERMException)) else "FAILED"
        for logger in trainer.loggers:
            if isinstance(logger, MLflowRunLogger):
                logger.outcome = outcome

    def _agreed(self, pl_module: LightningModule) -> set[int]:
        """Return the signals that have come to any process by now, the same on all of them."""
        here = torch.tensor([float(number in self._received) for number in SIGNALS], device=pl_module.device)
        return {number for number, count in zip(SIGNALS, all_reduce_sum(here).tolist(), strict=True) if count > 0}

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and signum in self._received:
            raise KeyboardInterrupt
        if not self._received:
            again = " Press Ctrl-C again to stop at once." if signum == signal.SIGINT else ""
            sys.stderr.write(f"\nStopping after this iteration.{again}\n")
        self._received.add(signum)


def stop_for(signals: set[int], of_ctrl_c: type[BaseException], of_sigterm: type[BaseException]) -> None:
    """Raise what ends a run for the signals that have come; do nothing for none."""
    if signal.SIGTERM in signals:
        raise of_sigterm
    if signal.SIGINT in signals:
        raise of_ctrl_c
