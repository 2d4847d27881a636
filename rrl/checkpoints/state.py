"""What a checkpoint holds beyond Lightning's own content, and when one is written."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.optim import Adam

import rrl
from rrl.checkpoints.io import remove_leftovers
from rrl.checkpoints.loading import FORMAT, MARKER, CheckpointError
from rrl.checks import require_at_least, require_one_of
from rrl.configuration import class_path
from rrl.tracking import MLflowRunLogger
from rrl.tracking.provenance import without_password

LONGEST_RUN = 2**63
"""More epochs, iterations or updates than any run has."""


class RunState(Callback):
    """Stores in each checkpoint whose it is, and the global random states, so that a resumed run continues exactly.

    Lightning stores neither. Everything is kept as plain types and tensors: the file loads with ``weights_only=True``.
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the mark by which checkpoints of this package are known."""
        datamodule = getattr(trainer, "datamodule", None)
        logger = trainer.logger if isinstance(trainer.logger, MLflowRunLogger) else None
        checkpoint[MARKER] = {
            "format": FORMAT,
            "version": rrl.__version__,
            "algorithm": class_path(type(pl_module)),
            "datamodule": None if datamodule is None else class_path(type(datamodule)),
            "worlds": None if datamodule is None else world_recipe(datamodule),
            "run_id": logger and logger.run_id,
            "run_name": logger and logger.run_name,
            "tracking_uri": logger and without_password(logger.tracking_uri),
        }

    def state_dict(self) -> dict[str, Any]:
        """Read the global random states of Python, NumPy and PyTorch."""
        # NumPy's legacy generator returns its five values as a tuple.
        _, keys, position, has_gauss, gaussian = np.random.get_state()
        version, internal, gauss = random.getstate()
        words = torch.from_numpy(np.asarray(keys, dtype=np.int64))
        return {
            "torch": torch.get_rng_state(),
            "python": [version, list(internal), gauss],
            "numpy": [words, int(position), int(has_gauss), float(gaussian)],
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what a checkpoint has made of the optimizers, since PyTorch takes it as it comes."""
        for optimizer in trainer.optimizers if trainer.ckpt_path else ():
            if isinstance(optimizer, Adam):
                check_optimizer(optimizer)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the global random states."""
        torch.set_rng_state(state_dict["torch"])
        version, internal, gauss = state_dict["python"]
        random.setstate((version, tuple(internal), gauss))
        keys, *others = state_dict["numpy"]
        np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *others))


class StoppedBetweenIterationsError(KeyboardInterrupt):
    """Ctrl-C that has waited for the end of an iteration: what there is continues exactly."""


class TerminatedBetweenIterationsError(SIGTERMException):
    """The same of SIGTERM."""


class BestAndLastCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt`` and ``last.ckpt`` in ``<folder of the run>/checkpoints``.

    Both are written at the ends of epochs; ``last.ckpt`` also when the run is interrupted, unless within an iteration.
    After an *error* the state that led to it goes to ``failed.ckpt``, and ``last.ckpt`` stays what it was. Checkpoints
    hold no absolute path, so that the folder of a run may be moved.

    Args:
        monitor: Metric that tells which one is best.
        mode: ``"max"`` or ``"min"``: which value of the metric is best.
        every_n_epochs: Epochs between two looks at the metric.
        dirpath: Another folder.
    """

    CHECKPOINT_NAME_LAST = "last"

    def __init__(
        self, monitor: str = "eval/return_mean", mode: str = "max", every_n_epochs: int = 1, dirpath: str | None = None
    ) -> None:
        require_at_least(1, **{"checkpoint.every_n_epochs": every_n_epochs})
        require_one_of(("max", "min"), **{"checkpoint.mode": mode})
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_last=True,
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Settle the folder before training starts."""
        if self.dirpath is None:
            self.dirpath = str(Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints")
        if trainer.is_global_zero:
            remove_leftovers(Path(self.dirpath))
        super().setup(trainer, pl_module, stage)
        for logger in trainer.loggers:
            logger.after_save_checkpoint(self)  # which a run that has nothing left to train never says

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``last.ckpt`` at the end of every epoch, also where the best one stays what it was."""
        # Lightning renews the last checkpoint only in epochs that improve on the best, and nothing where its count of
        # policy updates stays what it was, as in a warm-up.
        self._last_global_step_saved = -1
        super().on_train_epoch_end(trainer, pl_module)
        if self._last_global_step_saved == -1:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where there is no best checkpoint."""
        super().on_train_end(trainer, pl_module)
        if not self.best_model_path:
            rank_zero_warn(f"There is no best checkpoint: `checkpoint.monitor` {self.monitor} has not been logged.")

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state with the names of files in place of their paths."""
        return _with_paths(super().state_dict(), Path())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, with the best score if the best checkpoint is in this folder, wherever that may be now."""
        folder = Path(str(self.dirpath))
        state = _with_paths(state_dict, folder)
        self.last_model_path = state["last_model_path"]
        if Path(state["best_model_path"] or "missing").is_file():
            super().load_state_dict(state)
            self.current_score = state["current_score"]

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what there is when a run ends early."""
        interrupted = isinstance(exception, (StoppedBetweenIterationsError, TerminatedBetweenIterationsError))
        if isinstance(exception, (KeyboardInterrupt, SIGTERMException)) and not interrupted:
            return  # the policy may be half updated
        if self.dirpath is None or (trainer.world_size > 1 and not interrupted):
            return  # saving needs all processes, and after an error nobody knows whether the others are still there
        path = Path(self.dirpath) / ("last.ckpt" if interrupted else "failed.ckpt")
        self._save_checkpoint(trainer, str(path))
        if interrupted:
            self.last_model_path = str(path)


def _with_paths(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Put all files that the state of a ModelCheckpoint names into a folder."""

    def moved(path: str) -> str:
        return str(folder / Path(path).name) if path else ""

    paths = {key: moved(state[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
    best = {moved(path): score for path, score in state["best_k_models"].items()}
    return state | paths | {"best_k_models": best, "dirpath": str(folder)}


def check_progress(checkpoint: dict[str, Any], trainer: Trainer) -> None:
    """Refuse to continue from counts of epochs and iterations that are none; Lightning reads them without a look.

    Raises:
        CheckpointError: If one is missing, of another type, negative, or larger than any run.
    """
    counts = {"epoch": 0, "global_step": 0, "loops": {"fit_loop": trainer.fit_loop.state_dict()}}
    if (place := _unlike(checkpoint, counts)) is not None:
        raise CheckpointError(f"The checkpoint does not say how far its run has come: `{place}` is not a count.")


def _unlike(stored: Any, counts: Any, place: str = "") -> str | None:
    """Name the first place where stored counts are not of the kind of others; None where all are."""
    if isinstance(counts, dict):
        if not isinstance(stored, dict):
            return place
        parts = (_unlike(stored.get(key), inner, f"{place}.{key}".lstrip(".")) for key, inner in counts.items())
        return next((part for part in parts if part is not None), None)
    return None if type(stored) is type(counts) and 0 <= stored < LONGEST_RUN else place


def check_optimizer(optimizer: Adam) -> None:
    """Refuse an optimizer whose settings or averages are not such as it makes itself.

    Raises:
        CheckpointError: If a setting is of another type, negative or not finite, or an average is missing or not a
            finite number for each entry of its parameter.
    """
    settings = [
        (group.get(name), default) for group in optimizer.param_groups for name, default in optimizer.defaults.items()
    ]
    averages = [
        (state.get(name), torch.Size() if name == "step" else parameter.shape)
        for parameter, state in optimizer.state.items()
        for name in ("step", "exp_avg", "exp_avg_sq")
    ]
    if not (
        all(type(setting) is type(default) for setting, default in settings)
        and all(0.0 <= setting < math.inf for setting, _ in settings if isinstance(setting, float))
        and all(isinstance(average, Tensor) and average.shape == shape for average, shape in averages)
        and all(average.isfinite().all() for average, _ in averages)
    ):
        raise CheckpointError("The checkpoint holds the state of an optimizer that a run cannot go on from.")


def world_recipe(datamodule: LightningDataModule) -> dict[str, Any]:
    """Note what is needed to build the worlds of a run again, without pushes or random physics, in plain types."""
    recipe = {name: getattr(datamodule, name) for name in ("env_id", "env_kwargs", "seed")}
    adversary = getattr(datamodule, "adversary", None)
    return recipe | {
        "wrappers": getattr(datamodule, "wrappers", None),
        "max_episode_steps": getattr(datamodule, "nominal_limit", None),
        "adversary": adversary and dataclasses.asdict(adversary),
    }
