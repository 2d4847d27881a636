"""Metrics on their way to whoever wants them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning import Trainer


def send_metrics(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    """Hand metrics to the loggers, and to the callbacks as Lightning does, before this returns.

    Lightning's ``log`` sends what belongs to an epoch only after the checkpoint of that epoch has been written: a kill
    between the two would lose it.
    """
    trainer.callback_metrics.update({key: torch.tensor(value) for key, value in metrics.items()})
    for logger in trainer.loggers:
        logger.log_metrics(dict(metrics), step=trainer.global_step)
