"""Files of policies: what a path, a pattern, a folder or the id of an MLflow run means."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from pathlib import Path

from rrl.checkpoints import CheckpointError
from rrl.checkpoints.loading import ZOO, checkpoint_file
from rrl.checks import near_file
from rrl.serving.model import MODEL
from rrl.tracking.addresses import database_uri, lacks_database
from rrl.tracking.logger import require_run_name
from rrl.tracking.outbox import BoundedCaller, first_line
from rrl.tracking.remote_run import DEADLINE, connect

RUN_ID = re.compile(r"[0-9a-f]{32}")
LAST = "last.ckpt"
COPIES = {"mlruns", MODEL}
"""Folders of copies of what stands elsewhere."""
SUFFIXES = {".ckpt", ".zip"}


def find_files(entry: str) -> list[str]:
    """Find the policy files that a file, a pattern, a folder, or the id of an MLflow run means, sorted by path.

    A folder means every ``last.ckpt`` below it, or else the ``.zip`` files in it.
    """
    if entry.startswith(ZOO):
        checkpoint_file(entry)
        return [entry]
    path = Path(entry).expanduser()
    if path.exists():
        return _files_at(path)
    if RUN_ID.fullmatch(entry):
        return [_of_run(entry)]
    if not glob.has_magic(entry):
        raise CheckpointError(f"There is no checkpoint, folder, run or function {entry}{near_file(path)}")
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if not matches:
        raise CheckpointError(f"Nothing matches {entry} in {Path.cwd()}.")
    return [file for match in matches for file in _files_at(match)]


def _files_at(path: Path) -> list[str]:
    if not path.is_dir():
        if path.suffix not in SUFFIXES:
            raise CheckpointError(f"A policy is a .ckpt or a .zip file, got {path}.")
        return [str(path)]
    # MLflow keeps copies of checkpoints: the same policy twice would count twice.
    found = sorted(file for file in path.rglob(LAST) if COPIES.isdisjoint(file.relative_to(path).parts))
    found = found or sorted(path.glob("*.zip"))
    if not found:
        raise CheckpointError(f"The folder {path} holds neither {LAST} nor .zip files.")
    return [str(file) for file in found]


def _of_run(run_id: str) -> str:
    # A run that ran elsewhere is fetched to where it would be.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    uri = os.environ.get("MLFLOW_TRACKING_URI") or database_uri(Path("mlflow.db").absolute())
    # Connecting to an SQLite file that is not there would create it.
    if lacks_database(uri):
        raise CheckpointError(f"The run {run_id} cannot be looked up: there is no database at {uri}.")
    try:
        client = connect(uri)
        name = str(BoundedCaller().call(lambda: client.get_run(run_id), DEADLINE).info.run_name)
        require_run_name(name)
        local = Path("runs") / name / "checkpoints" / LAST
        if not local.is_file():
            local.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=local.parent) as folder:
                os.replace(client.download_artifacts(run_id, f"checkpoints/{LAST}", dst_path=folder), local)
        return str(local)
    except Exception as error:  # an unknown run, one without checkpoints, or a server that does not answer
        reason = f"The last checkpoint of run {run_id} cannot be had from {uri} ({first_line(error)})."
        raise CheckpointError(reason) from error
