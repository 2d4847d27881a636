"""Inject faults of one kind and print what was lost: ``python -m tests.reliability SIGKILL --count 200 --seed 0``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.reliability import preloaded  # noqa: F401  # before anything starts a thread
from tests.reliability.fuzz_checkpoints import fuzz_checkpoints
from tests.reliability.fuzz_configurations import fuzz_configurations
from tests.reliability.long_runs import watch
from tests.reliability.runs import arguments, last_checkpoint, start
from tests.reliability.servers import SICK, try_server
from tests.reliability.starts import start_at_once
from tests.reliability.stops import STOPS, Tally, stop_runs

LONGEST = 20.0
"""Seconds that a run may wait for a sick server."""
CHECKPOINTS = ("TRPO", "RCRARL", "ADRRL")
"""Algorithms whose checkpoints are damaged."""


def main() -> int:
    """Run the command; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("kind", choices=[*STOPS, "servers", "starts", "configurations", "checkpoints", "long run"])
    parser.add_argument("--count", type=int, default=10, help="how many faults, or iterations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of moments and changes (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the runs go, kept afterwards; a temporary one by default")
    options = parser.parse_args()
    sys.argv = ["train.py"]  # as the commands see it
    folder = Path(tempfile.mkdtemp()) if options.folder is None else options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    tally = inject(options.kind, options.count, options.seed, folder)
    sys.stdout.write(
        f"{tally.kind}: {tally.injected} injected in {time.monotonic() - begin:.0f} s, seed {options.seed}\n"
    )
    sys.stdout.writelines(f"  seen {number} times: {line}\n" for line, number in tally.seen.most_common())
    if options.kind == "configurations":
        refused, nameless = (tally.seen[line] for line in ("refused", "refused without a name"))
        sys.stdout.write(f"  sentences without a name: {nameless / max(refused, 1):.2%}\n")
    sys.stdout.writelines(f"  LOST {what}\n" for what in tally.lost)
    sys.stdout.write(f"  lost: {len(tally.lost)}\n")
    if options.folder is None:
        shutil.rmtree(folder)
    return 1 if tally.lost else 0


def inject(kind: str, count: int, seed: int, folder: Path) -> Tally:
    """Inject faults of one kind in a folder."""
    if kind in STOPS:
        return stop_runs(kind, count, seed, folder, empty_database(folder))
    if kind == "long run":
        return watch(count, folder)
    if kind == "starts":
        return start_at_once(count, folder)
    if kind == "servers":
        return try_servers(folder)
    if kind == "configurations":
        return fuzz_configurations(count, seed, folder)
    return fuzz_checkpoints(count, seed, folder, finished_runs(folder))


def try_servers(folder: Path) -> Tally:
    """Log to a server of each kind."""
    tally, database = Tally("servers"), empty_database(folder)
    for number, kind in enumerate(SICK):
        where = folder / str(number)
        where.mkdir()
        shutil.copy(database, where / "mlflow.db")
        visit = try_server(kind, 50, where)
        tally.injected += 1
        tally.seen[f"{kind}: longest wait {visit.longest:.1f} s"] += 1
        tally.lost += [f"{kind}: {what}" for what in visit.lost]
        tally.lost += [f"{kind}: it has waited for {visit.longest:.0f} s"] if visit.longest > LONGEST else []
    return tally


def empty_database(folder: Path) -> Path:
    """Make an empty MLflow database, which takes seconds, to be copied."""
    from rrl.tracking.addresses import database_uri
    from rrl.tracking.remote_run import connect

    path = folder / "empty.db"
    connect(database_uri(path))
    return path


def finished_runs(folder: Path) -> dict[str, Path]:
    """Train a small run of some algorithms to the end, unless the folder has it from before."""
    runs = {name: folder / f"run-{name}" for name in CHECKPOINTS}
    for name, where in runs.items():
        if last_checkpoint(where).exists():
            continue
        where.mkdir(parents=True, exist_ok=True)
        process = start(arguments(name), where)
        process.join()
        if process.exitcode != 0:
            raise RuntimeError((where / "output").read_text())
    return runs


if __name__ == "__main__":
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    warnings.simplefilter("ignore")
    sys.exit(main())
