"""What MLflow copies into a model and runs to serve it: this file and the checkpoint beside it, no pickle."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel

import rrl


class ServedPolicy(PythonModel):
    """Raw observations ``[N, O]`` to actions ``[N, A]``."""

    # The signature says the types; MLflow would advise to add them, past every filter of warnings.
    _skip_type_hint_validation = True

    def load_context(self, context: Any) -> None:
        """Read the checkpoint."""
        self._policy = rrl.load_policy(context.artifacts["checkpoint"])

    # Without types: MLflow would take them for a signature.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Act."""
        return self._policy.act(np.asarray(model_input, dtype=np.float64))


mlflow.models.set_model(ServedPolicy())
