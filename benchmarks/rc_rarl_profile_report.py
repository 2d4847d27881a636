"""Turn the force profiles of the RC-RARL comparison into a CSV file, tables and a figure.

Reads what ``rc_rarl_profile.py`` has left, adds it to the CSV file of earlier runs, if there is one, and prints the
tables of the written reading. The score of a policy under a kind of attack is the area of its profile: the mean return
over forces from 0 to 5 N, for held pushes averaged over the directions; as a share, over its return without force.

    python benchmarks/rc_rarl_profile_report.py --folder rc_rarl_runs --output results/rc_rarl
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rc_rarl_report import COLORS, LABELS, cell, interval, to_markdown
from rc_rarl_runs import ITERATIONS, METHODS, SETTINGS, WALKER
from scipy.stats import binomtest

from rrl.evaluation.attacks.profile import profile_area

POLICY = ["setting", "method", "seed", "iteration"]
TITLES = SETTINGS | WALKER
IN_GAINS = (
    *("restarts", "restarts_raw", "restarts_at_risk", "restarts_riskiest", "restarts_uniform", "gate_and_restarts"),
    *("rcrarl", "uncalibrated_gate", "uncertain_gate", "random_gate"),
    *("shaping", "force_control", "random_adversary", "trpo"),
)
IN_PROFILES = ("rarl", "restarts", "restarts_raw", "restarts_uniform", "rcrarl", "trpo")
KINDS = {"random_step": "random pushes", "impulse": "impulses", "held": "held pushes"}


def joined(path: Path, fresh: Path) -> pd.DataFrame:
    """Add the fresh rows to a CSV file, in place of those of the same policies, and return all of it."""
    tables = [pd.read_csv(file) for file in (fresh, path) if file.is_file()]
    keys = [table.set_index(POLICY).index for table in tables]
    if len(tables) == 2:
        tables[1] = tables[1][~keys[1].isin(keys[0])]
    table = pd.concat(tables, ignore_index=True).sort_values([*POLICY, "attack", "force_limit"])
    table.to_csv(path, index=False, float_format="%.6g")
    return table


def areas_of(profiles: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each policy: area and survival by kind of attack, their mean, and the return without force."""
    profiles = profiles.assign(kind=profiles.attack.str.split(" ").str[0])
    points = profiles.groupby([*POLICY, "kind", "force_limit"])[["return_mean", "survived"]].mean().reset_index()
    rows = []
    for policy, mine in points.groupby(POLICY):
        row = dict(zip(POLICY, policy, strict=True))
        row["unforced"] = mine[mine.force_limit == 0.0].return_mean.mean()
        for kind, line in mine.groupby("kind"):
            row[kind] = profile_area(line.force_limit.tolist(), line.return_mean.tolist())
            row[f"{kind} survival"] = profile_area(line.force_limit.tolist(), line.survived.tolist())
        row["area"] = sum(row[kind] for kind in KINDS) / len(KINDS)
        row["share"] = row["area"] / row["unforced"]
        rows.append(row)
    return pd.DataFrame(rows)


def score_table(areas: pd.DataFrame) -> pd.DataFrame:
    """Return means with intervals over seeds: a row for each method."""
    rows = []
    for method in (method for method in METHODS if method in set(areas.method)):
        mine = areas[areas.method == method]
        row = {"method": LABELS[method], "seeds": len(mine), "without force": cell(mine.unforced.to_numpy())}
        row |= {title: cell(mine[kind].to_numpy()) for kind, title in KINDS.items()}
        row |= {"area": cell(mine.area.to_numpy()), "share kept": cell(mine.share.to_numpy(), 3)}
        rows.append(row)
    return pd.DataFrame(rows)


def difference_table(areas: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Compare each method with a baseline on the seeds that both have: a row for each method."""
    columns = {"unforced": "without force", **KINDS, "area": "area"}
    base = areas[areas.method == baseline].set_index("seed")
    rows = []
    for method in (method for method in METHODS if method in set(areas.method) - {baseline}):
        gain = (areas[areas.method == method].set_index("seed")[list(columns)] - base[list(columns)]).dropna()
        row = {"method": f"{LABELS[method]} - {LABELS[baseline]}", "pairs": len(gain)}
        row |= {title: cell(gain[column].to_numpy()) for column, title in columns.items()}
        rows.append(row | {"ahead": f"{int((gain.area > 0.0).sum())} of {len(gain)}"})
    return pd.DataFrame(rows)


def plot_profiles(profiles: pd.DataFrame, title: str) -> Figure:
    """Draw return against force, a panel for each kind of attack, mean and 95 % band over the seeds."""
    figure, panels = plt.subplots(1, len(KINDS), figsize=(13, 4), sharey=True, layout="constrained")
    profiles = profiles.assign(kind=profiles.attack.str.split(" ").str[0])
    for axes, (kind, name) in zip(panels, KINDS.items(), strict=True):
        for method in (method for method in IN_PROFILES if method in set(profiles.method)):
            plot_profile(axes, profiles[(profiles.kind == kind) & (profiles.method == method)], method)
        axes.set(title=name, xlabel="largest force along an axis, newtons")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("return of the final policy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title)
    return figure


def plot_profile(axes: Axes, rows: pd.DataFrame, method: str) -> None:
    """Draw a method's line with its bootstrap band."""
    table = rows.pivot_table(index="force_limit", columns="seed", values="return_mean")
    mean, low, high = zip(*(interval(row) for row in table.to_numpy()), strict=True)
    label = f"{LABELS[method]}, seeds: {table.shape[1]}"
    axes.plot(table.index, mean, "o-", markersize=3, color=COLORS[method], label=label)
    axes.fill_between(table.index, low, high, color=COLORS[method], alpha=0.15, linewidth=0)


def area_table(areas: pd.DataFrame) -> pd.DataFrame:
    """Return the areas of the final policies: a row for each method, a column for each setting."""
    rows = []
    for method in (method for method in METHODS if method in set(areas.method)):
        row = {"method": LABELS[method]}
        for setting in (setting for setting in TITLES if setting in set(areas.setting)):
            mine = areas[(areas.method == method) & (areas.setting == setting)].area.to_numpy()
            row[TITLES[setting]] = f"{cell(mine)} ({len(mine)})" if len(mine) else ""
        rows.append(row)
    return pd.DataFrame(rows)


def relative_gains(areas: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return the areas beyond a baseline's of the same setting and seed, in percent of its mean in that setting."""
    base = areas[areas.method == baseline]
    base = base.assign(mean=base.groupby("setting").area.transform("mean"))[["setting", "seed", "area", "mean"]]
    pairs = areas[areas.method != baseline].merge(base, on=["setting", "seed"], suffixes=("", "_of_baseline"))
    return pairs.assign(gain=100.0 * (pairs.area - pairs.area_of_baseline) / pairs["mean"])


def pooled_table(areas: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Compare each method with a baseline over the pairs of all settings: a row for each method."""
    gains = relative_gains(areas, baseline)
    rows = []
    for method in (method for method in METHODS if method in set(gains.method)):
        mine = gains[gains.method == method].gain.to_numpy()
        ahead = int((mine > 0.0).sum())
        chance = binomtest(ahead, len(mine)).pvalue
        row = {"method": f"{LABELS[method]} - {LABELS[baseline]}", "pairs": len(mine), "area, percent": cell(mine, 1)}
        rows.append(row | {"ahead": f"{ahead} of {len(mine)}", "p of the sign test": f"{chance:.3f}"})
    return pd.DataFrame(rows)


def plot_gains(areas: pd.DataFrame) -> Figure:
    """Draw by how much more of the area each method keeps than RARL, in percent, with 95 % intervals over seeds."""
    settings = [setting for setting in TITLES if setting in set(areas.setting)]
    gains = relative_gains(areas, "rarl")
    widely = gains.groupby("method").setting.transform("nunique") > 2
    parts = {TITLES[setting]: gains[gains.setting == setting] for setting in settings} | {"all settings": gains[widely]}
    figure, panels = plt.subplots(1, len(parts), figsize=(2.4 * len(parts) + 2, 5.2), layout="constrained")
    for axes, (title, rows) in zip(panels, parts.items(), strict=True):
        for place, method in enumerate(reversed(IN_GAINS)):
            gain = rows[rows.method == method].gain.to_numpy()
            if len(gain) > 1:
                mean, low, high = interval(gain)
                color = "tab:red" if method == "restarts" else "tab:gray"
                axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=color, capsize=3)
                axes.annotate(
                    f"{len(gain)}", (high, place), (4, 0), textcoords="offset points", va="center", fontsize=7
                )
        axes.axvline(0.0, color="black", linewidth=0.8)
        axes.set(title=title.replace(", ", ",\n").replace(" with", "\nwith"), ylim=(-0.6, len(IN_GAINS) - 0.4))
        axes.set_yticks(range(len(IN_GAINS)), [LABELS[method] for method in reversed(IN_GAINS)])
        axes.label_outer()
        axes.grid(alpha=0.3, axis="x")
        axes.margins(x=0.15)
    figure.supxlabel("return under force, against RARL's of the same seeds, percent (number of seeds)")
    return figure


def plot_late(areas: pd.DataFrame) -> Figure:
    """Draw the area against the iteration, each run and the means, where policies of several iterations were judged."""
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for method, rows in areas.groupby("method"):
        table = rows.pivot_table(index="iteration", columns="seed", values="area").dropna(axis=1)
        axes.plot(table.index, table, color=COLORS[method], alpha=0.25, linewidth=1)
        label = f"{LABELS[method]}, seeds: {table.shape[1]}"
        axes.plot(table.index, table.mean(axis=1), "o-", color=COLORS[method], label=label)
    axes.set(xlabel="iteration", ylabel="area of the force profile", xticks=sorted(areas.iteration.unique()))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def main() -> None:
    """Write everything that the profiles so far allow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    profiles = joined(args.output / "profiles.csv", args.folder / "profile.csv")
    areas = areas_of(profiles)
    for (setting, iteration), rows in areas.groupby(["setting", "iteration"]):
        print(f"\n{TITLES[setting]}, iteration {iteration}\n\n{to_markdown(score_table(rows))}")
        for baseline in ("rarl", "restarts_uniform"):
            if {baseline} < set(rows.method):
                print(f"\n{to_markdown(difference_table(rows, baseline))}")
    for setting, rows in profiles.groupby("setting"):
        rows = rows[rows.iteration == ITERATIONS[setting]]
        plot_profiles(rows, TITLES[setting]).savefig(args.output / f"profile_{setting}.png", dpi=80)
    final = areas[areas.iteration == areas.setting.map(ITERATIONS)]
    print(f"\nArea (seeds)\n\n{to_markdown(area_table(final))}")
    for baseline in ("rarl", "restarts_uniform", "restarts_raw"):
        print(f"\nAll settings\n\n{to_markdown(pooled_table(final, baseline))}")
    plot_gains(final).savefig(args.output / "gains.png", dpi=90)
    for setting, rows in areas.groupby("setting"):
        followed = rows[rows.groupby("method").iteration.transform("nunique") > 1]
        if len(followed):
            plot_late(followed).savefig(args.output / f"late_{setting}.png", dpi=90)


if __name__ == "__main__":
    main()
