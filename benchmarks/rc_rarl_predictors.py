"""Compare predictors of the failure risk by their skill on rollouts that they have not seen, as starts get noisier.

Trains RC-RARL on the double pendulum once for each predictor, reset noise and seed; draws the skill of its calibrated
risk over the second half of the iterations: the Brier skill score (1 - Brier score / that of the base rate), the area
under the receiver operating characteristic and the calibration error. What is complete is not trained again.

    python benchmarks/rc_rarl_predictors.py --folder predictor_runs --seeds 0 --iterations 30 --output results/rc_rarl
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from rc_rarl_report import to_markdown
from rc_rarl_runs import Run, metric_history
from training_queue import ROOT, Training, train_all

NOISES = (0.05, 0.1, 0.2, 0.3, 0.5)
OPTION = "--model.init_args.risk_model.predictor"
PREDICTORS = {
    "logistic": [],
    "perceptron": [OPTION, "MLP"],
    "ensemble of 5": [OPTION, "MLP", f"{OPTION}.init_args.num_members", "5"],
    "recurrent": [OPTION, "GRU"],
}
"""Command lines; the first is the default."""
SKILLS = {"skill": "Brier skill score", "auroc": "area under the ROC", "ece": "calibration error"}


def run_of(folder: Path, noise: float, predictor: str, seed: int) -> Run:
    """Name a run as the other runs of the comparison."""
    return Run(folder, f"noise_{noise:g}", predictor.replace(" ", "_"), seed)


def training(run: Run, noise: float, predictor: str, iterations: int) -> Training:
    """Describe one run."""
    arguments = ["--config", str(ROOT / "conf/rcrarl_doublependulum_10.yaml"), *PREDICTORS[predictor]]
    arguments += ["--data.init_args.env_kwargs.reset_noise_scale", str(noise), "--seed_everything", str(run.seed)]
    arguments += ["--trainer.max_epochs", str(iterations), "--attacks.every_n_epochs", "0"]
    arguments += ["--evaluation.every_n_epochs", str(iterations)]
    return Training(str(run), run.folder, arguments, run.folder / "train.txt", run.marker)


def skill_of(run: Run) -> dict[str, float]:
    """Average the skill of the calibrated risk over the second half of a run."""
    late = {}
    for name in ("brier", "auroc", "ece", "base_rate"):
        _, values = metric_history(run, f"risk/{name}")
        late[name] = values[len(values) // 2 :]
    rate = late["base_rate"]
    skill = 1.0 - late["brier"].mean() / (rate * (1.0 - rate)).mean()
    return {"skill": skill, "auroc": late["auroc"].mean(), "ece": late["ece"].mean(), "base_rate": rate.mean()}


def plot_skills(table: pd.DataFrame) -> Figure:
    """Draw each skill against the reset noise, a line for each predictor."""
    figure, panels = plt.subplots(1, len(SKILLS), figsize=(12, 3.4), layout="constrained")
    for axes, (skill, title) in zip(panels, SKILLS.items(), strict=True):
        for predictor in PREDICTORS:
            line = table[table.predictor == predictor].groupby("noise")[skill].mean()
            axes.plot(line.index, line, "o-", markersize=4, label=predictor)
        axes.set(title=title, xlabel="reset noise", xscale="log", xticks=NOISES, xticklabels=[f"{x:g}" for x in NOISES])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def main() -> None:
    """Train what is missing, then write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    parts = [(noise, predictor, seed) for seed in args.seeds for noise in NOISES for predictor in PREDICTORS]
    runs = {part: run_of(args.folder.resolve(), *part) for part in parts}
    train_all([partial(training, runs[part], *part[:2], args.iterations) for part in parts], args.jobs)
    columns = ["noise", "predictor", "seed"]
    rows = [dict(zip(columns, part, strict=True)) | skill_of(run) for part, run in runs.items() if run.marker.is_file()]
    table = pd.DataFrame(rows)
    table.to_csv(args.output / "predictors.csv", index=False, float_format="%.4g")
    means = table.pivot_table(index="predictor", columns="noise", values=list(SKILLS), sort=False)
    for skill, title in SKILLS.items():
        print(f"\n{title}\n\n{to_markdown(means[skill].round(3).reset_index())}")
    plot_skills(table).savefig(args.output / "predictors.png", dpi=90)


if __name__ == "__main__":
    main()
