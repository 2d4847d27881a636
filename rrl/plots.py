"""Figures. Each function takes numbers, returns a Matplotlib figure, and knows nothing of where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from torch import Tensor

from rrl.risk import ReliabilityBand

BLUE, ORANGE, GREY = "#2a6f97", "#e07a1f", "#8d99ae"
STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "grid.color": "#e5e7eb",
    "font.size": 10,
}


def plot_learning_curve(training: Mapping[int, float], evaluation: Mapping[int, float]) -> Figure:
    """Draw mean returns, in units of reward, against real environment steps; each series may be empty."""
    figure, axes = new_figure()
    raw = finite_points(training)
    axes.plot(*raw, color=GREY, alpha=0.45, linewidth=1)
    axes.plot(raw[0], smooth(raw[1]), color=GREY, linewidth=2, label="training (noisy actions, training worlds)")
    label = "evaluation (mean action, nominal worlds)"
    axes.plot(*finite_points(evaluation), color=BLUE, linewidth=2, marker="o", markersize=4, label=label)
    axes.set_title("Learning curve", loc="left")
    axes.set(xlabel="real environment steps", ylabel="mean episode return (reward)")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.legend(loc="best", frameon=False)
    return figure


def plot_imagined_returns(guided: Tensor, unguided: Tensor) -> Figure:
    """Draw histograms of imagined returns ``[B]``, in units of reward, with and without guidance, and their means."""
    figure, axes = new_figure()
    values = {"unguided": unguided, "guided": guided}
    finite = {name: each.detach().double().cpu()[each.isfinite().cpu()].numpy() for name, each in values.items()}
    bins = np.histogram_bin_edges(np.concatenate(list(finite.values())), bins=40).tolist()
    for (name, returns), color in zip(finite.items(), (GREY, ORANGE), strict=True):
        mean = returns.mean()
        label = f"{name}: mean {mean:.3g}, n = {returns.size}"
        axes.hist(returns, bins=bins, density=True, color=color, alpha=0.55, label=label)
        axes.axvline(mean, color=color, linewidth=2, linestyle="--")
    axes.set_title("Imagined returns", loc="left")
    axes.margins(y=0.25)  # headroom for the legend
    axes.set(xlabel="return of an imagined trajectory (reward)", ylabel="density (1 / reward)")
    axes.legend(loc="best", frameon=False)
    return figure


def plot_reliability(bands: Mapping[str, ReliabilityBand], title: str = "Reliability of the risk") -> Figure:
    """Draw failure rates against predicted risks, at most four curves by name, each with its band.

    A curve on the diagonal is a risk that comes true as often as it says.
    """
    figure, axes = new_figure(width=5.4, height=5.0)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle=":", label="perfect")
    for (name, (curve, band)), color in zip(bands.items(), (GREY, BLUE, ORANGE, "black"), strict=False):
        risk = curve.mean_risk.cpu().numpy()
        label = f"{name} ({int(curve.counts.sum())} states)"
        axes.plot(risk, curve.failure_rate.cpu().numpy(), color=color, marker="o", markersize=4, label=label)
        axes.fill_between(risk, band.low.cpu().numpy(), band.high.cpu().numpy(), color=color, alpha=0.15, linewidth=0)
    axes.set_title(title, loc="left")
    axes.set(xlabel="predicted risk", ylabel="failure rate (95 % band over trajectories)", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="best", frameon=False)
    return figure


def plot_time_shares(shares: Mapping[str, float]) -> Figure:
    """Draw the share of wall time of each part as a horizontal bar; what is left is shown as other."""
    parts = {**shares, "other": max(1.0 - sum(shares.values()), 0.0)}
    figure, axes = new_figure(height=1.0 + 0.45 * len(parts))
    bars = axes.barh(list(parts), [100 * share for share in parts.values()], color=BLUE)
    axes.bar_label(bars, [f"{share:.0%}" for share in parts.values()], padding=4)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set_title("Where the time goes", loc="left")
    axes.set(xlabel="share of wall time (%)")
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure, creating its folder; the ending of the path chooses the format. Return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def smooth(values: Sequence[float] | np.ndarray, share: float = 0.05) -> np.ndarray:
    """Average each value with those around it, in a window of a share of the series that is cut off at its ends.

    Example:
        >>> smooth([0.0, 3.0, 6.0, 3.0], share=0.75).tolist()
        [1.5, 3.0, 4.0, 4.5]
    """
    series = np.asarray(values, dtype=float)
    half = int(len(series) * share / 2)
    sums = np.concatenate([[0.0], np.cumsum(series)])
    places = np.arange(len(series))
    first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(series))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def finite_points(series: Mapping[int, float]) -> tuple[list[int], list[float]]:
    """Split a series by steps into steps and values, leaving out values that cannot be drawn."""
    points = [(step, value) for step, value in series.items() if np.isfinite(value)]
    return [step for step, _ in points], [value for _, value in points]


def new_figure(width: float = 7.2, height: float = 4.2) -> tuple[Figure, Axes]:
    """Make an empty figure in the house style, in inches. It belongs to no window and needs no closing."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()
