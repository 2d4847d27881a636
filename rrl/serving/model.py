"""The policy of a finished run as a model that MLflow can load and serve."""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

import rrl
from rrl.spaces import Spaces
from rrl.tracking.ending import EndCallback
from rrl.tracking.logger import MLflowRunLogger
from rrl.types import HasActor

MODEL = "policy_model"
"""Name of the model in the folder of a run and among its artifacts, as in ``mlflow models serve -m runs:/<id>/...``."""

MODEL_TAG = "mlflow.log-model.history"
"""Tag by which MLflow's page of a run knows that there is a model among its artifacts."""


class ModelCallback(EndCallback):
    """Saves the policy of a finished run for ``mlflow.pyfunc.load_model``, and sends it to MLflow."""

    @rank_zero_only
    def at_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last checkpoint as a model."""
        logger, checkpoint = trainer.logger, trainer.checkpoint_callback
        if not (isinstance(logger, MLflowRunLogger) and logger.log_model and isinstance(checkpoint, ModelCheckpoint)):
            return
        last = Path(checkpoint.last_model_path)
        if not last.is_file():
            return
        folder = logger.run_dir / MODEL
        try:
            save_model(last, folder, cast(HasActor, pl_module).spaces)
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                logger.log_artifact(file, str(Path(MODEL) / file.parent.relative_to(folder)))
            logger.log_tags({MODEL_TAG: json.dumps([model_entry()])})
        except Exception as error:  # a copy of the policy is not worth a run
            rank_zero_warn(f"The policy could not be saved as an MLflow model: {error}")


def model_entry() -> dict[str, object]:
    """Describe the model of a run as MLflow lists it."""
    now = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return {"artifact_path": MODEL, "utc_time_created": now, "flavors": {"python_function": {}}}


def save_model(checkpoint: Path, folder: Path, spaces: Spaces) -> None:
    """Write a folder that ``mlflow.pyfunc.load_model`` takes: code, checkpoint, signature and an example."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    shutil.rmtree(folder, ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about itself, also where it is imported
        from mlflow.models import ModelSignature
        from mlflow.pyfunc import save_model as save
        from mlflow.types import Schema, TensorSpec

        signature = ModelSignature(
            Schema([TensorSpec(np.dtype(np.float64), (-1, spaces.obs_dim))]),
            Schema([TensorSpec(np.dtype(spaces.action_dtype), (-1, spaces.action_dim))]),
        )
        save(
            folder,
            python_model=str(Path(__file__).with_name("served_policy.py")),
            artifacts={"checkpoint": str(checkpoint)},
            signature=signature,
            input_example=np.zeros((1, spaces.obs_dim)),
            pip_requirements=[f"rrl=={rrl.__version__}"],
        )
