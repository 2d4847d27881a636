"""How far a training is, in training steps."""

from __future__ import annotations

from typing import cast

from lightning import Trainer


def remaining_iterations(trainer: Trainer) -> int:
    """Count the training steps of this epoch and the following ones; 0 for a run without a fixed number of epochs."""
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return 0
    batches = (trainer.max_epochs - trainer.current_epoch) * int(trainer.num_training_batches)
    return max(batches - trainer.fit_loop.epoch_loop.batch_idx - 1, 0)


def training_progress(trainer: Trainer) -> float:
    """Return which share of a training of a fixed number of epochs is over with the step under way, in ``(0, 1]``."""
    return 1.0 - remaining_iterations(trainer) / (cast(int, trainer.max_epochs) * int(trainer.num_training_batches))
