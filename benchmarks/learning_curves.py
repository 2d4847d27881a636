"""Collect what several runs have logged of one metric: a CSV row for each run and time.

Prints the same as a table, with the mean over the runs.

    python benchmarks/learning_curves.py runs/adrrl_walker_* --metric eval/return_mean --output curve.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from rrl.tracking.outbox import read_lines


def curve_of(run: Path, metric: str) -> pd.DataFrame:
    """Read one run's history of a metric; of a step that a resumed run repeats the last value counts."""
    records = [record for record in read_lines(run / "metrics.jsonl") if metric in record["metrics"]]
    rows = {record["step"]: record["metrics"][metric] for record in records}
    return pd.DataFrame({"run": run.name, "env_steps": list(rows), metric: list(rows.values())})


def main() -> None:
    """Write the file and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--metric", default="eval/return_mean")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    curves = pd.concat([curve_of(run, args.metric) for run in args.runs], ignore_index=True)
    curves.to_csv(args.output, index=False, float_format="%.6g")
    table = curves.pivot_table(index="env_steps", columns="run", values=args.metric)
    table["mean"] = table.mean(axis=1)
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
