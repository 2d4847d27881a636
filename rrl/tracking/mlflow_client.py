"""A connection to MLflow that neither blocks for minutes nor leaves files behind."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"


def lacks_database(uri: str) -> bool:
    """Tell whether a tracking URI names an SQLite file that is not there: connecting would create it."""
    return uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file()


def connect(uri: str) -> MlflowClient:
    """Make a client that gives up after one retry, and is quiet; whether the server answers shows at its first use."""
    # MLflow's own seven retries block for four minutes when its server is gone.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def first_line(error: Exception) -> str:
    r"""Shorten an error for a sentence, to the beginning of the first line of its message.

    Example:
        >>> first_line(ValueError("no such host\nat line 3"))
        'no such host'
    """
    return (str(error).splitlines() or [""])[0][:120]
