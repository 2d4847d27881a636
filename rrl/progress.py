"""One progress bar over the real environment steps of the whole run."""

from __future__ import annotations

import sys
import time
from typing import Any, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from rrl.schedule import remaining_iterations
from rrl.types import HasEnvSteps

SHOWN = {"rollout/episode_return_mean": "return", "eval/return_mean": "eval"}
"""Metrics beside the bar and their short names."""
QUIET_INTERVAL = 30.0
"""Seconds between two lines where standard error is not a terminal."""


class EnvStepsProgressBar(TQDMProgressBar):
    """Shows environment steps, their rate, and the latest returns.

    Where standard error is not a terminal it prints a plain line every half minute instead. The total is extrapolated
    from the steps of the latest iteration.
    """

    def init_train_tqdm(self) -> Tqdm:
        """Make the bar, which is there for the whole run."""
        return Tqdm(
            desc="env steps",
            initial=self._steps,
            unit=" steps",
            unit_scale=True,
            dynamic_ncols=True,
            file=sys.stderr,
            disable=self.is_disabled or not sys.stderr.isatty(),
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._steps = self._first_step = int(cast(HasEnvSteps, pl_module).env_steps)
        self._start = self._last_line = time.monotonic()
        super().on_train_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Go on with the same bar."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Advance by the environment steps of the iteration."""
        steps = int(cast(HasEnvSteps, pl_module).env_steps)
        taken, self._steps = steps - self._steps, steps
        bar = self.train_progress_bar
        bar.total = steps + remaining_iterations(trainer) * taken
        bar.set_postfix(self.get_metrics(trainer, pl_module), refresh=False)
        bar.update(taken)
        if bar.disable and self.is_enabled and time.monotonic() - self._last_line > QUIET_INTERVAL:
            self._last_line = time.monotonic()
            rate = (steps - self._first_step) / (self._last_line - self._start)
            shown = "".join(f", {name} {value}" for name, value in self.get_metrics(trainer, pl_module).items())
            sys.stderr.write(f"{steps:,} of {bar.total:,} env steps, {rate:,.0f} steps/s{shown}\n")
            sys.stderr.flush()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        if self._train_progress_bar is not None:
            self._train_progress_bar.close()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the latest returns by their short names."""
        returns = {name: trainer.callback_metrics.get(key) for key, name in SHOWN.items()}
        return {name: f"{float(value):.1f}" for name, value in returns.items() if value is not None}
