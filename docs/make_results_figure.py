"""Draw the figure of the README from the tables of ``results/adrrl``: means over the seeds with 95 % intervals.

python docs/make_results_figure.py --output docs/images/robustness.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from rrl.evaluation.report.figures_style import REPORT_STYLE, method_styles, new_panels

TASKS = {"hopper": "Hopper, 150k steps", "walker_300k": "Walker2d, 300k steps"}
METHODS = ("AD-RRL", "AD-RRL unguided", "TRPO, same worlds")
MEASURES = {"mean": "mean return in perturbed worlds", "attack": "return under the strongest attack"}


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/adrrl"))
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    with mpl.rc_context(REPORT_STYLE):
        figure, panels = new_panels(4, columns=4, size=(2.75, 2.9), sharey=True)
        for place, (task, measure) in enumerate((task, measure) for task in TASKS for measure in MEASURES):
            table, axes = pd.read_csv(args.results / task / "methods.csv", index_col="method"), panels[place]
            for height, (name, look) in enumerate(method_styles(METHODS).items()):
                value, low, high = table.loc[name, [measure, f"{measure}_low", f"{measure}_high"]]
                axes.plot([low, high], [height, height], color=look.color, linewidth=3, solid_capstyle="butt")
                axes.plot([value], [height], marker=look.marker, color=look.color, markersize=7)
            axes.set_title(TASKS[task])
            axes.set_xlabel(MEASURES[measure], fontsize=9)
            axes.set_xlim(left=0)
            axes.grid(visible=False, axis="y")
            axes.set_yticks(range(len(METHODS)), METHODS)
            axes.set_ylim(len(METHODS) - 0.5, -0.5)
        figure.savefig(args.output, dpi=110)


if __name__ == "__main__":
    main()
