"""Turn the runs of the RC-RARL comparison into CSV files, figures and tables.

Reads what ``rc_rarl_train.py`` and ``rc_rarl_attack.py`` have left, adds it to the CSV files of earlier runs, if there
are any, and prints the tables of the written reading.

    python benchmarks/rc_rarl_report.py --folder rc_rarl_runs --output results/rc_rarl
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rc_rarl_runs import METHODS, SETTINGS, Run, complete_runs, metric_history
from scipy.stats import bootstrap

METRICS = {
    "rollout/episode_return_mean": "train_return",
    "eval/return_mean": "nominal_return",
    "attack/learned": "return_under_own_adversary",
    "attack/step": "return_under_step",
    "attack/random_step": "return_under_random_step",
    "gate/open_fraction": "open_fraction",
    "gate/force_rms": "gated_force_rms",
    "adversary/force_rms": "force_rms",
    "risk/base_rate": "base_rate",
    "risk/fit_base_rate": "fit_base_rate",
    "risk/degenerate": "degenerate",
    "risk/auroc": "auroc",
    "risk/ece": "ece",
    "risk/ece_raw": "ece_raw",
    "risk/brier": "brier",
    "risk/brier_raw": "brier_raw",
    "risk/num_trajectories": "num_trajectories",
}
"""What is kept of a run, and its column."""
ONE_PLAYER = {"trpo", "random_adversary"}
ROLLOUT_STEPS = 4000
LABELS = {
    "rarl": "RARL",
    "rcrarl": "gate, calibrated risk",
    "rcrarl_paper": "RC-RARL (paper)",
    "rcrarl_adaptive": "adaptive gate",
    "trpo": "TRPO, no adversary",
    "random_gate": "gate, at random",
    "rarl_force_matched": "RARL, force matched",
    "uncalibrated_gate": "gate, raw risk",
    "restarts": "RC-RARL (calibrated band)",
    "restarts_at_risk": "restarts by r (1 - r)",
    "restarts_riskiest": "restarts, riskiest",
    "restarts_uniform": "restarts, random states",
    "restarts_raw": "restarts, raw band",
    "random_adversary": "random adversary",
    "gate_and_restarts": "band and gate",
    "shaping": "shaped adversary",
    "force_control": "force by failure rate",
    "uncertain_gate": "gate, open outcome",
}
TAB20 = plt.get_cmap("tab20").colors
COLORS = dict(zip(LABELS, (*TAB20[::2], *TAB20[1::2]), strict=False))
WITH_ADVERSARY = ("rarl", "rcrarl", "rcrarl_paper", "rcrarl_adaptive")
IN_FIGURES = (*WITH_ADVERSARY, "trpo")
ATTACKS = {
    "zero": "no force",
    "step": "step",
    "random_step": "random step",
    "held_half": "held, half the force",
    "strongest": "strongest found",
}


def curves_of(run: Run) -> pd.DataFrame:
    """Return one row for each iteration of a run."""
    steps_of_iteration = ROLLOUT_STEPS * (1 if run.method in ONE_PLAYER else 2)
    columns = {}
    for key, name in METRICS.items():
        steps, values = metric_history(run, key)
        history = pd.Series(values, index=-(-steps // steps_of_iteration))
        columns[name] = history.groupby(level=0).mean()
    table = pd.DataFrame(columns)
    table.insert(0, "env_steps", table.index * steps_of_iteration)
    table.insert(0, "iteration", table.index)
    for position, value in enumerate((run.setting, run.method, run.seed)):
        table.insert(position, ("setting", "method", "seed")[position], value)
    return table


def add_to(path: Path, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Add rows to a CSV file, in place of those of the same runs, and return all of it."""
    identity = ["setting", "method", "seed"]
    new = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=identity)
    if path.is_file():
        old = pd.read_csv(path)
        replaced = old.set_index(identity).index.isin(new.set_index(identity).index)
        new = pd.concat([old[~replaced], new], ignore_index=True) if len(new) else old
    if len(new):
        new.to_csv(path, index=False, float_format="%.5g")
    return new


def select(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """Return the rows whose columns have the wanted values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def interval(values: np.ndarray, statistic: Callable[..., np.ndarray] = np.mean) -> tuple[float, float, float]:
    """Return a statistic over seeds with its 95 % bootstrap interval; no interval for fewer than three seeds."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    if len(values) < 3 or np.ptp(values) == 0.0:
        return float(statistic(values)), np.nan, np.nan
    found = bootstrap((values,), statistic, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return float(statistic(values)), float(found.low), float(found.high)


def cell(values: np.ndarray, digits: int = 0) -> str:
    """Write a mean over seeds with its interval."""
    mean, low, high = interval(values)
    if np.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" if np.isnan(low) else f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def plot_curves(curves: pd.DataFrame, column: str, ylabel: str, methods: tuple[str, ...] = IN_FIGURES) -> Figure:
    """Draw a metric against the iteration, a panel for each setting, mean and 95 % band over the seeds."""
    figure, panels = plt.subplots(1, len(SETTINGS), figsize=(18, 3.6), layout="constrained")
    for axes, (setting, title) in zip(panels, SETTINGS.items(), strict=True):
        for method in methods:
            plot_band(axes, select(curves, setting=setting, method=method), column, method)
        axes.set(title=title.replace(", reset", ",\nreset"), xlabel="iteration (4000 steps a player)")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(ylabel)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(methods), frameon=False)
    return figure


def plot_band(axes: Axes, rows: pd.DataFrame, column: str, method: str) -> None:
    """Draw the mean over seeds with its bootstrap band."""
    table = rows.pivot_table(index="iteration", columns="seed", values=column, dropna=False).dropna(how="all")
    if table.empty:
        return
    mean, low, high = np.array([interval(row) for row in table.to_numpy()]).T
    axes.plot(table.index, mean, color=COLORS[method], label=LABELS[method])
    axes.fill_between(table.index, low, high, color=COLORS[method], alpha=0.15, linewidth=0)


def plot_vanishing(curves: pd.DataFrame) -> Figure:
    """Draw how often a state is labelled a failure and how often the gate stands open, as the paper has it and here."""
    figure, panels = plt.subplots(2, len(SETTINGS), figsize=(18, 6), sharex=True, sharey="row", layout="constrained")
    for column, (setting, title) in enumerate(SETTINGS.items()):
        for method in ("rcrarl_paper", "rcrarl"):
            rows = select(curves, setting=setting, method=method)
            for seed, line in rows.groupby("seed"):
                label = LABELS[method] if seed == rows.seed.min() else None
                for row, quantity in enumerate(("base_rate", "open_fraction")):
                    shown = line.dropna(subset=[quantity])
                    panels[row, column].plot(
                        shown.iteration, shown[quantity], color=COLORS[method], alpha=0.7, linewidth=1, label=label
                    )
        panels[0, column].set_title(title.replace(", reset", ",\nreset"))
        panels[1, column].set_xlabel("iteration")
    panels[0, 0].set_ylabel("failures among new labels")
    panels[1, 0].set_ylabel("steps with an open gate")
    for axes in panels.flat:
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def calibration_table(curves: pd.DataFrame) -> pd.DataFrame:
    """Compare the error of raw and calibrated risks on rollouts that the model had not seen, seed by seed."""
    rows = []
    for setting in SETTINGS:
        seeds = select(curves, setting=setting, method="rcrarl").groupby("seed")
        means = seeds[["ece_raw", "ece", "brier_raw", "brier", "auroc", "base_rate"]].mean()
        rows.append({
            "setting": setting,
            "ECE raw": cell(means.ece_raw.to_numpy(), 3),
            "ECE calibrated": cell(means.ece.to_numpy(), 3),
            "ECE raw - calibrated": cell((means.ece_raw - means.ece).to_numpy(), 3),
            "Brier raw - calibrated": cell((means.brier_raw - means.brier).to_numpy(), 4),
            "AUROC": cell(means.auroc.to_numpy(), 2),
            "base rate": cell(means.base_rate.to_numpy(), 2),
        })
    return pd.DataFrame(rows)


def final_table(curves: pd.DataFrame, column: str) -> pd.DataFrame:
    """Average a metric over the last ten iterations: a row for each method, a column for each setting."""
    last = curves[curves.iteration > curves.iteration.max() - 10]
    means = last.groupby(["setting", "method", "seed"])[column].mean()
    return table_of(means)


def attack_table(attacks: pd.DataFrame, attack: str) -> pd.DataFrame:
    """Return the means under one attack: a row for each method, a column for each setting."""
    return table_of(attacks[attacks.attack == attack].groupby(["setting", "method", "seed"])["return_mean"].mean())


def table_of(means: pd.Series) -> pd.DataFrame:
    """Lay means by setting, method and seed out as text."""
    present = [method for method in METHODS if method in means.index.get_level_values("method")]
    rows = []
    for method in present:
        row = {"method": LABELS[method]}
        for setting in SETTINGS:
            key = (setting, method)
            row[setting] = cell(means.loc[key].to_numpy()) if key in means.index.droplevel("seed") else ""
        rows.append(row)
    return pd.DataFrame(rows)


def differences_table(means: pd.Series, baseline: str) -> pd.DataFrame:
    """Compare each method with a baseline, paired by seed: a row for each method, a column for each setting."""
    rows = []
    present = means.index.get_level_values("method")
    for method in [method for method in METHODS if method in present and method != baseline]:
        row = {"method": f"{LABELS[method]} - {LABELS[baseline]}"}
        for setting in SETTINGS:
            try:
                difference = (means.loc[setting, method] - means.loc[setting, baseline]).dropna()
            except KeyError:
                continue
            row[setting] = cell(difference.to_numpy())
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def plot_attacks(attacks: pd.DataFrame) -> Figure:
    """Draw the final policies under each external attack, with intervals over seeds."""
    figure, panels = plt.subplots(1, len(SETTINGS), figsize=(18, 4.5), sharey=True, layout="constrained")
    methods = [method for method in METHODS if method in set(attacks.method)]
    markers = dict(zip(ATTACKS, "osDPX", strict=True))
    for axes, (setting, title) in zip(panels, SETTINGS.items(), strict=True):
        for position, method in enumerate(methods):
            for offset, attack in enumerate(ATTACKS):
                rows = select(attacks, setting=setting, method=method, attack=attack)
                mean, low, high = interval(rows.groupby("seed").return_mean.mean().to_numpy())
                height = position + 0.16 * (offset - 2.0)
                axes.plot([low, high], [height, height], color=COLORS[method], linewidth=1.2)
                axes.plot(mean, height, markers[attack], color=COLORS[method], markersize=5)
        axes.set(title=title.replace(", reset", ",\nreset"), xlabel="return of the final policy")
        axes.grid(alpha=0.3)
    panels[0].set_yticks(range(len(methods)), [LABELS[method] for method in methods])
    panels[0].invert_yaxis()
    handles = [plt.Line2D([], [], marker=markers[name], color="gray", linestyle="") for name in ATTACKS]
    figure.legend(handles, ATTACKS.values(), loc="outside lower center", ncols=len(ATTACKS), frameon=False)
    return figure


def main() -> None:
    """Write everything that the runs so far allow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    curves = add_to(args.output / "curves.csv", [curves_of(run) for run in complete_runs(args.folder)])
    figures = {
        "nominal_return": plot_curves(curves, "nominal_return", "return without force"),
        "own_adversary": plot_curves(
            curves, "return_under_own_adversary", "return under own adversary", WITH_ADVERSARY
        ),
        "vanishing_positives": plot_vanishing(curves),
    }
    seeds = curves.groupby(["setting", "method"]).seed.nunique().unstack("setting")
    tables = {
        "seeds": seeds.reindex(METHODS).reset_index(),
        "calibration on unseen rollouts": calibration_table(curves),
        "return without force, mean of the last ten iterations": final_table(curves, "nominal_return"),
    }
    fresh = args.folder / "attacks.csv"
    attacks = add_to(args.output / "attacks.csv", [pd.read_csv(fresh)] if fresh.is_file() else [])
    if not attacks.empty:
        figures["attacks"] = plot_attacks(attacks)
        tables |= {f"final policies, {attack}": attack_table(attacks, attack) for attack in ATTACKS}
        for attack in ATTACKS:
            means = attacks[attacks.attack == attack].groupby(["setting", "method", "seed"])["return_mean"].mean()
            for baseline in ("rarl", "random_gate"):
                tables[f"difference, {attack}, against {LABELS[baseline]}"] = differences_table(means, baseline)
    for name, figure in figures.items():
        figure.savefig(args.output / f"{name}.png", dpi=80)
    for title, table in tables.items():
        print(f"\n{title}\n\n{to_markdown(table)}")


def to_markdown(table: pd.DataFrame) -> str:
    """Write a table as Markdown."""
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [["" if pd.isna(value) else str(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
