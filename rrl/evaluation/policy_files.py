"""The files behind an entry of an evaluation: patterns, folders of runs, and runs of MLflow."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from pathlib import Path

from rrl.checkpoints import CheckpointError

RUN_ID = re.compile(r"[0-9a-f]{32}")
LAST = "last.ckpt"
SUFFIXES = {".ckpt", ".zip"}


def find_files(entry: str) -> list[str]:
    """Find the policy files that an entry means.

    Args:
        entry: A file, a pattern, a folder, or the id of an MLflow run.

    Returns:
        Paths, sorted. A folder means every ``last.ckpt`` below it, or else the ``.zip`` files in it.

    Raises:
        CheckpointError: If there is none.
    """
    path = Path(entry).expanduser()
    if path.is_file():
        return [_known(path)]
    if path.is_dir():
        return _in_folder(path)
    if RUN_ID.fullmatch(entry):
        return [_of_run(entry)]
    if not glob.has_magic(entry):
        raise CheckpointError(f"There is no checkpoint, folder, run or function {entry}.")
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    if not matches:
        raise CheckpointError(f"Nothing matches {entry}.")
    return [file for match in matches for file in (_in_folder(match) if match.is_dir() else [_known(match)])]


def _known(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"A policy is a .ckpt or a .zip file, got {path}.")
    return str(path)


def _in_folder(folder: Path) -> list[str]:
    # MLflow keeps copies of checkpoints: the same policy twice would count twice.
    found = sorted(path for path in folder.rglob(LAST) if "mlruns" not in path.relative_to(folder).parts)
    found = found or sorted(folder.glob("*.zip"))
    if not found:
        raise CheckpointError(f"The folder {folder} holds neither {LAST} nor .zip files.")
    return [str(path) for path in found]


def _of_run(run_id: str) -> str:
    """Find the last checkpoint of a run in its folder here; if it ran elsewhere, fetch it to where it would be."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').absolute()}"
    # Connecting to an SQLite file that is not there would create it.
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise CheckpointError(f"The run {run_id} cannot be looked up: there is no database at {uri}.")
    try:
        client = MlflowClient(tracking_uri=uri)
        name = client.get_run(run_id).info.run_name
        local = Path("runs") / name / "checkpoints" / LAST
        if not local.is_file():
            local.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=local.parent) as folder:
                os.replace(client.download_artifacts(run_id, f"checkpoints/{LAST}", dst_path=folder), local)
        return str(local)
    except Exception as error:  # an unknown run, one without checkpoints, or a server that does not answer
        reason = (str(error).splitlines() or [""])[0][:120]
        raise CheckpointError(f"The last checkpoint of run {run_id} cannot be had from {uri} ({reason}).") from error
