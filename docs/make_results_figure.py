"""Draw the figure of the README from the tables of ``results/adrrl/300k``: means over the seeds, with who is ahead.

python docs/make_results_figure.py --output docs/images/robustness.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from rrl.evaluation.intervals import compare
from rrl.evaluation.report.figures_style import REPORT_STYLE, method_styles, new_panels
from rrl.evaluation.report.verdict import certainty_of, format_numbers

TASKS = {
    "hopper": "Hopper",
    "walker": "Walker2d",
    "halfcheetah": "HalfCheetah",
    "invertedpendulum": "InvertedPendulum",
    "reacher": "Reacher",
}
METHODS = ("AD-RRL", "TRPO, same worlds")
WORDS = {"open": "no clear difference", "tentative": "{} ahead, suggested", "clear": "{} ahead, clearly"}


def scores(policies: pd.DataFrame, method: str) -> np.ndarray:
    """Return the mean over the perturbed worlds of each policy of a method."""
    return policies[policies.method == method]["mean"].to_numpy()


def verdict(policies: pd.DataFrame) -> str:
    """Say how far the first method is from the last, and how sure that is."""
    comparison = compare(scores(policies, METHODS[0]), scores(policies, METHODS[-1]))
    difference = comparison.difference
    value, low, high = format_numbers([difference.value, difference.low, difference.high])
    leader = "AD-RRL" if difference.value > 0.0 else "TRPO"
    return f"{WORDS[certainty_of(comparison)].format(leader)}\nAD-RRL - TRPO: {value} [{low}, {high}]"


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/adrrl/300k"))
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    with mpl.rc_context(REPORT_STYLE):
        figure, panels = new_panels(len(TASKS), columns=len(TASKS), size=(2.5, 2.5), sharey=True)
        for (task, title), axes in zip(TASKS.items(), panels, strict=True):
            table = pd.read_csv(args.results / task / "methods.csv", index_col="method")
            policies = pd.read_csv(args.results / task / "policies.csv")
            for height, (name, look) in enumerate(method_styles(METHODS).items()):
                value, low, high = table.loc[name, ["mean", "mean_low", "mean_high"]]
                axes.plot([low, high], [height, height], color=look.color, linewidth=3, solid_capstyle="butt")
                axes.plot([value], [height], marker=look.marker, color=look.color, markersize=7)
                each = scores(policies, name)
                axes.plot(each, np.full(len(each), height + 0.25), ".", color=look.color, markersize=4)
            axes.set_title(title)
            axes.set_xlabel(verdict(policies), fontsize=8)
            axes.grid(visible=False, axis="y")
            axes.set_yticks(range(len(METHODS)), METHODS)
            axes.set_ylim(len(METHODS) - 0.5, -0.5)
        figure.savefig(args.output, dpi=110)


if __name__ == "__main__":
    main()
