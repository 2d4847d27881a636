"""Delivery of what runs that have ended could not send to MLflow: ``rrl deliver``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rrl.checks import near_file
from rrl.options import OptionParser
from rrl.tracking.claim import IDENTITY_FILE, Identity, RunFolder, read_identity, unclaimed
from rrl.tracking.logger import UNSENT_FILE
from rrl.tracking.outbox import Outbox, append_lines
from rrl.tracking.provenance import leaks_credentials, without_password
from rrl.tracking.remote_run import RemoteRun


def deliver(root: Path) -> Iterator[tuple[bool, str]]:
    """Deliver what waits in the folders of runs, and call those killed whose process is gone.

    Args:
        root: Folder that holds ``runs``, as in :class:`~rrl.tracking.MLflowRunLogger`.

    Yields:
        For each run with something to tell, whether all of it has arrived, and a sentence.
    """
    for file in sorted((root / "runs").glob(f"*/{IDENTITY_FILE}")):
        identity, outbox = read_identity(file.parent), file.with_name(UNSENT_FILE)
        if identity is None or (identity.ended and not outbox.exists()):
            continue
        with unclaimed(file.parent) as is_free:
            yield _deliver(root, file.parent, identity) if is_free else (True, f"{file.parent.name}: is running.")


def _deliver(root: Path, folder: Path, identity: Identity) -> tuple[bool, str]:
    known = os.environ.get("MLFLOW_TRACKING_URI", "")  # with the password that no file holds
    uri = known if without_password(known) == identity.tracking_uri else identity.tracking_uri
    if leaks_credentials(uri):
        return False, f"{folder.name}: kept, set MLFLOW_TRACKING_URI to {uri} to send your credentials there."
    run = RemoteRun(uri, identity.experiment_name, identity.run_name, run_id=identity.run_id, root=root, reopen=False)
    outbox = Outbox(run.deliver, folder / UNSENT_FILE)
    if not identity.ended:
        append_lines(outbox.path, [{"status": "KILLED"}])
        identity = _signed(folder, identity, identity.run_id)
    waiting = len(outbox.waiting())
    left = outbox.flush()
    _signed(folder, identity, run.run_id)
    rest = f", {left} still wait" if left else ""
    return left == 0, f"{folder.name}: {waiting - left} messages delivered to {identity.tracking_uri}{rest}."


def _signed(folder: Path, identity: Identity, run_id: str | None) -> Identity:
    RunFolder(folder, identity).sign(run_id, ended=True)
    return read_identity(folder) or identity


def main(args: Sequence[str]) -> int:
    """Run the command; 0 if nothing waits any more, 1 otherwise, 2 for bad input."""
    about = "Send to MLflow what runs that have ended could not send while they ran."
    parser = OptionParser(prog="rrl deliver", description=about)
    parser.add_argument("root", nargs="?", default=".", help="folder that holds `runs` (default: the present one)")
    try:
        root = Path(parser.parse_args(args).root).resolve()
    except ValueError as error:
        sys.stderr.write(f"rrl deliver: error: {error}\n")
        return 2
    if not (root / "runs").is_dir():
        sys.stderr.write(f"rrl deliver: error: There is no folder {root / 'runs'}{near_file(root / 'runs')}\n")
        return 2
    all_arrived = True
    for arrived, sentence in deliver(root):
        all_arrived = all_arrived and arrived
        sys.stdout.write(f"{sentence}\n")
    sys.stdout.write("Everything is in MLflow.\n" if all_arrived else "Some of it is not in MLflow yet.\n")
    return 0 if all_arrived else 1
