"""The figures drawn during a run and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from torch import Tensor

from rrl.random_streams import Purpose, torch_stream
from rrl.risk import ScoredStates, reliability_band
from rrl.tracking.ending import EndCallback
from rrl.tracking.logger import MLflowRunLogger


@runtime_checkable
class HasReliability(Protocol):
    """An algorithm with risks of failure, whose reliability is drawn now and then."""

    @property
    def num_protagonist_updates(self) -> int:
        """Updates of the protagonist so far."""

    def reliability_states(self) -> Mapping[str, ScoredStates] | None:
        """Return scored states by the name of the risk; None where none are due."""


@runtime_checkable
class HasImagination(Protocol):
    """An algorithm that imagines trajectories, whose returns are drawn at its end."""

    def imagined_returns(self) -> tuple[Tensor, Tensor] | None:
        """Return guided and unguided returns from the same start states, each ``[B]``; None before there are any."""


class FigureCallback(EndCallback):
    """Draws figures during a run and when it ends or is stopped, for its folder ``figures`` and for MLflow."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw the figures that are due now."""
        logger = trainer.logger
        if not (trainer.is_global_zero and isinstance(logger, MLflowRunLogger)):
            return
        if isinstance(pl_module, HasReliability) and (states := pl_module.reliability_states()):
            update = pl_module.num_protagonist_updates
            try:
                logger.log_artifact(draw_reliability(states, logger.run_dir / "figures", update), "figures")
            except Exception as error:  # a figure is not worth a run
                rank_zero_warn(f"The reliability diagram could not be drawn: {error}")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw the figures of a run that was stopped."""
        self.at_end(trainer, pl_module)

    @rank_zero_only
    def at_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the figures of a finished run."""
        logger = trainer.logger
        if not isinstance(logger, MLflowRunLogger):
            return
        try:
            for path in draw_figures(logger, pl_module):
                logger.log_artifact(path, "figures")
        except Exception as error:  # a figure is not worth a run
            rank_zero_warn(f"The figures of the run could not be drawn: {error}")


def draw_figures(logger: MLflowRunLogger, pl_module: LightningModule) -> list[Path]:
    """Draw what a run has data for, and return the files. Imports Matplotlib only here, since that takes a second."""
    from rrl.plots import plot_imagined_returns, plot_learning_curve, plot_time_shares, save_figure

    figures = {}
    training, evaluation = logger.history("rollout/episode_return_mean"), logger.history("eval/return_mean")
    if training or evaluation:
        figures["learning_curve"] = plot_learning_curve(training, evaluation)
    if isinstance(pl_module, HasImagination) and (imagined := pl_module.imagined_returns()):
        figures["imagined_returns"] = plot_imagined_returns(*imagined)
    if shares := logger.means("time/", "_share"):
        figures["time_shares"] = plot_time_shares(shares)
    return [save_figure(figure, logger.run_dir / "figures" / f"{name}.png") for name, figure in figures.items()]


def draw_reliability(states: Mapping[str, ScoredStates], folder: Path, update: int) -> Path:
    """Draw the reliability of several risks, by name, after an update of the protagonist; return the file."""
    from rrl.plots import plot_reliability, save_figure

    generator = torch_stream(Purpose.FIGURE, update)
    bands = {
        name: reliability_band(ScoredStates(*(column.cpu() for column in scored)), num_bins=10, generator=generator)
        for name, scored in states.items()
    }
    figure = plot_reliability(bands, f"Reliability of the risk, update {update}")
    return save_figure(figure, folder / f"reliability_{update:04d}.png")
