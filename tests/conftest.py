"""Fixtures that several test files share."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")
# LightningCLI 2.6 calls methods that jsonargparse has deprecated.
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
torch.set_num_threads(1)

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database. Creating one takes seconds, copying it milliseconds."""
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def workdir(tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own that holds an empty MLflow database."""
    shutil.copy(migrated_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("sys.argv", ["train.py"])
    # A copy of each policy for MLflow's server would take a second a run; what it is, is tested by itself.
    monkeypatch.setattr("rrl.serving.model.save_model", lambda *args: None)
    return tmp_path


def undocumented(metrics: Iterable[str]) -> set[str]:
    """Return the metrics that the glossary of the documentation does not know."""
    text = (PROJECT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))
    return {name for name in metrics if re.sub(r"(?<=replay_error_)\d+$", "N", name) not in known}
