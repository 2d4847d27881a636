"""Compare the mean over seeds of two CSV files with bootstrap intervals, and print that of their difference.

Seeds are resampled within each method (SciPy's BCa would need more of them than one has; percentile intervals here).

    python benchmarks/compare_means.py results/a.csv results/b.csv --column return_mean
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap


def by_env(path: Path, column: str) -> dict[str, np.ndarray]:
    """Read one value a seed, grouped by environment."""
    values = defaultdict(list)
    with path.open() as file:
        for row in csv.DictReader(file):
            values[row["env"]].append(float(row[column]))
    return {env: np.array(seeds) for env, seeds in values.items()}


def interval(*samples: np.ndarray) -> str:
    """Format the mean, or the difference of two means, with its 95 % interval."""

    def statistic(*parts: np.ndarray, axis: int = -1) -> np.ndarray:
        return parts[0].mean(axis) - (parts[1].mean(axis) if len(parts) > 1 else 0.0)

    result = bootstrap(samples, statistic, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return f"{statistic(*samples):8.0f} [{result.low:.0f}, {result.high:.0f}]"


def main() -> None:
    """Print one line an environment that both files have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--column", default="return_mean")
    args = parser.parse_args()
    first, second = by_env(args.first, args.column), by_env(args.second, args.column)
    for env in sorted(first.keys() & second.keys()):
        difference = interval(first[env], second[env])
        print(f"{env:26s} {interval(first[env])}  {interval(second[env])}  difference {difference}")


if __name__ == "__main__":
    main()
