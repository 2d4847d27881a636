"""One progress bar over the real environment steps of the whole run."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

SHOWN = {"rollout/episode_return_mean": "return", "eval/return_mean": "eval"}
"""Metrics beside the bar and their short names."""
QUIET_INTERVAL = 30.0
"""Seconds between two lines where standard error is not a terminal."""


class EnvStepsProgressBar(ProgressBar):
    """Shows environment steps, their rate, and the latest returns.

    Where standard error is not a terminal it prints a plain line every half minute instead. The algorithm must have the
    counter ``env_steps``; the total is extrapolated from the steps of the latest iteration.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm[Any] | None = None
        self._enabled = True
        self._steps = 0
        self._started_at = (0, 0.0)
        self._last_line = 0.0

    def disable(self) -> None:
        """Show nothing; Lightning calls this on all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar.

        Args:
            trainer: The trainer.
            pl_module: The algorithm.
        """
        super().on_train_start(trainer, pl_module)
        self._steps = env_steps(pl_module)
        self._started_at = (self._steps, time.monotonic())
        self._last_line = time.monotonic()
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(initial=self._steps, unit=" steps", unit_scale=True, dynamic_ncols=True, desc="env steps")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Advance by the environment steps of the iteration.

        Args:
            trainer: The trainer.
            pl_module: The algorithm.
            *args: Ignored; part of Lightning's interface.
        """
        steps = env_steps(pl_module)
        taken, self._steps = steps - self._steps, steps
        total = steps + max(remaining_iterations(trainer), 0) * taken
        returns = {name: trainer.callback_metrics.get(key) for key, name in SHOWN.items()}
        shown = {name: f"{float(value):.1f}" for name, value in returns.items() if value is not None}
        if self._bar is not None:
            self._bar.total = total
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(taken)
        elif self._enabled and time.monotonic() - self._last_line > QUIET_INTERVAL:
            self._last_line = time.monotonic()
            self._print_line(total, shown)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar.

        Args:
            trainer: The trainer.
            pl_module: The algorithm.
        """
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar.

        Args:
            trainer: The trainer.
            pl_module: The algorithm.
            exception: Why the run ends.
        """
        self._close()

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print a line without tearing the bar.

        Args:
            *args: What to print.
            **kwargs: Ignored; part of Lightning's interface.
        """
        tqdm.write(" ".join(map(str, args)), file=sys.stderr)

    def _print_line(self, total: int, shown: dict[str, str]) -> None:
        first_step, since = self._started_at
        rate = (self._steps - first_step) / (time.monotonic() - since)
        extra = "".join(f", {name} {value}" for name, value in shown.items())
        sys.stderr.write(f"{self._steps:,} of {total:,} env steps, {rate:,.0f} steps/s{extra}\n")
        sys.stderr.flush()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def env_steps(pl_module: LightningModule) -> int:
    """Read an algorithm's counter of real environment steps.

    Args:
        pl_module: The algorithm.

    Returns:
        Steps so far over all processes; 0 if it does not count them.
    """
    return int(getattr(pl_module, "env_steps", 0))


def remaining_iterations(trainer: Trainer) -> int:
    """Count the training steps that are still to come.

    Args:
        trainer: A trainer in the middle of fitting.

    Returns:
        Steps of this epoch and the following ones; 0 for a run without a fixed number of epochs.
    """
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return 0
    per_epoch = int(trainer.num_training_batches)
    done = trainer.fit_loop.epoch_loop.batch_idx + 1
    return (trainer.max_epochs - trainer.current_epoch) * per_epoch - done
