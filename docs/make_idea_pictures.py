"""Draw the pictures of the page of ideas, on made-up data.

python docs/make_idea_pictures.py --folder docs/images
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from rrl.evaluation.report.figures_style import COLORS, FAINT, INK, REPORT_STYLE
from rrl.risk.metrics import equal_width_edges, reliability_curve

BLUE, ORANGE, GREEN = COLORS[0], COLORS[1], COLORS[2]
LOOPS = {
    "RARL": ["policy acts,\nadversary pushes", "policy improves", "both act", "adversary improves"],
    "RC-RARL": [
        "policy acts, adversary\npushes where risk is high",
        "risk is learnt\nand calibrated",
        "gate is set",
        "both improve in turn",
    ],
    "AD-RRL": [
        "policy acts in\nrandom worlds",
        "diffusion model\nlearns trajectories",
        "bad futures are\nimagined",
        "policy improves\non real and bad",
    ],
}


def box(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    """Put a text in a box."""
    style = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": color, "linewidth": 1.5}
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color=INK, bbox=style)


def draw_loops() -> Figure:
    """Draw what each algorithm does in one iteration."""
    figure = Figure(figsize=(10.5, 4.3), layout="constrained")
    for axes, (name, parts), color in zip(figure.subplots(1, 3), LOOPS.items(), (BLUE, GREEN, ORANGE), strict=True):
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_axis_off()
        axes.set_title(name, loc="center")
        heights = [0.88, 0.62, 0.36, 0.1]
        for height, text in zip(heights, parts, strict=True):
            box(axes, 0.45, height, text, color)
        arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 1.5}
        for above, below in itertools.pairwise(heights):
            axes.annotate("", (0.45, below + 0.085), (0.45, above - 0.085), arrowprops=arrow)
        back = arrow | {"connectionstyle": "arc3,rad=0.45"}
        axes.annotate("", (0.79, heights[0]), (0.79, heights[-1]), arrowprops=back)
    return figure


def draw_gate() -> Figure:
    """Draw a reliability diagram before and after calibration by isotonic regression, and the gate."""
    from scipy.optimize import isotonic_regression

    random = np.random.default_rng(0)
    truth = random.beta(1.2, 3.0, 8000)
    failed = random.random(8000) < truth
    raw = norm.cdf(2.2 * norm.ppf(truth.clip(1e-4, 1 - 1e-4)) + 0.5)  # over-confident
    fit, test = slice(0, 4000), slice(4000, None)
    order = np.argsort(raw[fit])
    fitted = isotonic_regression(failed[fit][order].astype(float)).x
    calibrated = np.interp(raw[test], raw[fit][order], fitted)
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle=":")
    for risk, color, label in ((raw[test], FAINT, "before"), (calibrated, BLUE, "calibrated on held-out data")):
        curve = reliability_curve(torch.tensor(risk), torch.tensor(failed[test]), equal_width_edges(10))
        full = curve.counts >= 10
        points = (curve.mean_risk[full], curve.failure_rate[full])
        left.plot(*points, color=color, marker="o", markersize=4, linewidth=2, label=label)
    left.set(xlabel="predicted risk", ylabel="share that failed", title="Does the risk come true?")
    left.legend()
    threshold = 0.4
    right.hist(calibrated, bins=30, range=(0, 1), color=FAINT)
    right.axvspan(threshold, 1.0, color=ORANGE, alpha=0.18, linewidth=0)
    right.axvline(threshold, color=ORANGE, linewidth=2)
    right.margins(y=0.3)
    right.text(
        threshold + 0.02, right.get_ylim()[1] * 0.97, "gate open:\nthe adversary may push", color=ORANGE, va="top"
    )
    right.set(xlabel="calibrated risk of a state", ylabel="states", title="The gate", xlim=(0, 1))
    return figure


def draw_tail(alpha: float = 0.1) -> Figure:
    """Draw a law of returns and its worst share."""
    returns = np.linspace(-3.6, 3.6, 400)
    density, edge = norm.pdf(returns), norm.ppf(alpha)
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(returns, density, color=FAINT, alpha=0.5, linewidth=0)
    bad = returns <= edge
    axes.fill_between(returns[bad], density[bad] / alpha, color=ORANGE, alpha=0.6, linewidth=0)
    mean = -norm.pdf(edge) / alpha
    axes.axvline(0.0, color=INK, linewidth=1, linestyle=":")
    axes.axvline(mean, color=ORANGE, linewidth=2)
    axes.text(0.1, 0.43, "all imagined futures", color=INK)
    axes.text(mean - 0.15, 1.3, "worst tenth;\nline: CVaR", color=ORANGE, ha="right")
    axes.set(xlabel="return of an imagined trajectory (standard deviations)", ylabel="density", ylim=(0, 1.85))
    return figure


def main() -> None:
    """Draw all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(REPORT_STYLE):
        for name, figure in {"loops": draw_loops(), "gate": draw_gate(), "tail": draw_tail()}.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
