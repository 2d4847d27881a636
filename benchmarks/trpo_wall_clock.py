"""Compare the wall clock of a whole TRPO training run with sb3-contrib's, process start to saved policy.

Both train on the same machine in turn, in processes of their own, as often as asked; the ratio is that of the medians.
Ours steps worlds on all cores, so the ratio of the wall clocks means what it says only on an idle machine. Other load
hardly touches that of the CPU-seconds, which has none of the gain by more cores.
Needs ``pip install sb3-contrib`` in the environment of ``--sb3-python``.

    python benchmarks/trpo_wall_clock.py --env Hopper-v5 --config conf/trpo_hopper.yaml --repeats 3
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Duration(NamedTuple):
    """How long a process took, in seconds."""

    wall: float
    cpu: float


def run(command: list[str], folder: str) -> Duration:
    """Run a command in a folder to its end."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Duration(time.perf_counter() - start, cpu)


def main() -> None:
    """Run both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Hopper-v5")
    parser.add_argument("--config", type=Path, default=Path("conf/trpo_hopper.yaml"))
    parser.add_argument("--steps", type=int, default=300_000, help="must be the length of the configuration's run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sb3-python", default=sys.executable)
    args = parser.parse_args()

    reference = [args.sb3_python, str(ROOT / "benchmarks/train_sb3_trpo.py"), "--env", args.env, "--episodes", "1"]
    reference += ["--steps", str(args.steps), "--seeds"]
    ours = [sys.executable, str(ROOT / "train.py"), "--config", str(args.config.resolve()), "--seed_everything"]
    measured: dict[str, list[Duration]] = {"rrl": [], "sb3-contrib": []}
    for repeat in range(args.repeats):
        for name, command in (("rrl", ours), ("sb3-contrib", reference)):
            with tempfile.TemporaryDirectory() as folder:
                measured[name].append(run([*command, str(repeat)], folder))
    for clock in Duration._fields:
        medians = {}
        for name, durations in measured.items():
            times = [getattr(duration, clock) for duration in durations]
            medians[name] = statistics.median(times)
            print(
                f"{name:12s} {medians[name]:6.1f} s {clock:5s} (each: {', '.join(f'{value:.1f}' for value in times)})"
            )
        print(f"ratio        {medians['rrl'] / medians['sb3-contrib']:6.2f}   {clock}")


if __name__ == "__main__":
    main()
