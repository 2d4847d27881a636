"""How far a training is, in training steps."""

from __future__ import annotations

from lightning import Trainer


def remaining_iterations(trainer: Trainer) -> int:
    """Count the training steps of this epoch and the following ones; 0 for a run without a fixed number of epochs."""
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return 0
    batches = (trainer.max_epochs - trainer.current_epoch) * int(trainer.num_training_batches)
    return max(batches - trainer.fit_loop.epoch_loop.batch_idx - 1, 0)


def training_progress(trainer: Trainer) -> float:
    """Return which share of the training is over with the training step that is under way, in ``(0, 1]``.

    Raises:
        ValueError: If the run has no fixed number of epochs.
    """
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        raise ValueError(f"`final_max_kl` needs a fixed number of epochs, got `max_epochs` {trainer.max_epochs}.")
    return 1.0 - remaining_iterations(trainer) / (trainer.max_epochs * int(trainer.num_training_batches))
