"""The figures drawn during a run and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from rrl.random_streams import Purpose, torch_stream
from rrl.risk import ScoredStates, reliability_band
from rrl.tracking.logger import MLflowRunLogger


class FigureCallback(Callback):
    """Draws the figures of a run when it ends or is stopped, for the folder ``figures`` of the run and for MLflow.

    - The learning curve, from ``rollout/episode_return_mean`` and ``eval/return_mean``.
    - Guided against unguided imagined returns, if the algorithm has the method ``imagined_returns()`` and it returns
      a pair of tensors rather than None.
    - Reliability diagrams during the run, whenever the method ``reliability_states()`` of the algorithm, if it has one,
      returns scored states by name rather than None.
    - Where the wall clock went, if the algorithm logs ``time/<part>_share``.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw the figures that are due now.

        Args:
            trainer: The trainer.
            pl_module: The algorithm.
            outputs: Unused.
            batch: Unused.
            batch_idx: Unused.
        """
        logger = trainer.logger
        if not (trainer.is_global_zero and isinstance(logger, MLflowRunLogger)):
            return
        states = getattr(pl_module, "reliability_states", lambda: None)()
        if states:
            update = int(getattr(pl_module, "num_protagonist_updates", trainer.global_step))
            try:
                logger.log_artifact(draw_reliability(states, logger.run_dir / "figures", update), "figures")
            except Exception as error:  # a figure is not worth a run
                rank_zero_warn(f"The reliability diagram could not be drawn: {error}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the figures of a finished run.

        Args:
            trainer: The trainer.
            pl_module: The algorithm.
        """
        self._draw(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw the figures of a run that was stopped.

        Args:
            trainer: The trainer.
            pl_module: The algorithm.
            exception: Why the run ends.
        """
        self._draw(trainer, pl_module)

    @rank_zero_only
    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logger = trainer.logger
        if not isinstance(logger, MLflowRunLogger):
            return
        try:
            for path in draw_figures(logger, pl_module):
                logger.log_artifact(path, "figures")
        except Exception as error:  # a figure is not worth a run
            rank_zero_warn(f"The figures of the run could not be drawn: {error}")


def draw_figures(logger: MLflowRunLogger, pl_module: LightningModule) -> list[Path]:
    """Draw what a run has data for. Imports Matplotlib only here, since that takes a second.

    Args:
        logger: The logger of the run, which holds its metrics.
        pl_module: The algorithm.

    Returns:
        The files written.
    """
    from rrl.plots import plot_imagined_returns, plot_learning_curve, plot_time_shares, save_figure

    folder = logger.run_dir / "figures"
    written = []
    training = logger.history("rollout/episode_return_mean")
    evaluation = logger.history("eval/return_mean")
    if training or evaluation:
        written.append(save_figure(plot_learning_curve(training, evaluation), folder / "learning_curve.png"))
    imagined = getattr(pl_module, "imagined_returns", lambda: None)()
    if imagined is not None:
        guided, unguided = imagined
        written.append(save_figure(plot_imagined_returns(guided, unguided), folder / "imagined_returns.png"))
    if shares := logger.means("time/", "_share"):
        written.append(save_figure(plot_time_shares(shares), folder / "time_shares.png"))
    return written


def draw_reliability(states: Mapping[str, ScoredStates], folder: Path, update: int) -> Path:
    """Draw the reliability of several risks. Imports Matplotlib only here, since that takes a second.

    Args:
        states: Risks and labels by name.
        folder: Where the figure goes.
        update: Update of the protagonist after which it is drawn, for title and file name.

    Returns:
        The file written.
    """
    from rrl.plots import plot_reliability, save_figure

    generator = torch_stream(Purpose.FIGURE, update)
    bands = {
        name: reliability_band(ScoredStates(*(column.cpu() for column in scored)), num_bins=10, generator=generator)
        for name, scored in states.items()
    }
    figure = plot_reliability(bands, f"Reliability of the risk, update {update}")
    return save_figure(figure, folder / f"reliability_{update:04d}.png")
