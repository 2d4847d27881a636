"""Measure what each rule of guidance does to the trajectories that a model imagines, and what it costs.

Takes the policy of a checkpoint and fills a buffer with its experience in the worlds of its training. On that, models
are trained from scratch for each rule, all for the same CPU time, and imagine at several tail levels. Judged by the
shift of the predicted return (in its standard deviations within a start state) and the quantile at which predicted
returns lie in the true distribution over the uncertainty set: with the same actions, and with the policy reacting. 0.5
is no effect; alpha / 2 is the alpha-tail itself. All rows of the output, of earlier calls too, are drawn beside it. Pin
it to one core.

    python benchmarks/guidance_effect.py --checkpoint runs/<run>/checkpoints/last.ckpt --output effect.csv
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import time
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from rrl.algorithms import ADRRL
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.checkpoints import load_algorithm, read_checkpoint
from rrl.data import TrajectoryDataModule
from rrl.diffusion import (
    CausalGRU,
    DenoiserSettings,
    FewStep,
    GuidanceSettings,
    NoGuidance,
    NoiseConditional,
    PaperGuidance,
    QuantileConditional,
    Reparameterized,
    RowwiseGRU,
    TemporalUNet,
    TransitionGradient,
    WorstOfM,
)
from rrl.envs import Pushes
from rrl.evaluation import ImaginationDiagnostics
from rrl.evaluation.report.figures_style import COLORS, MARKERS
from rrl.plots import new_figure
from rrl.rollout import RolloutCollector

ROWWISE, WHOLE = (RowwiseGRU(width=64, hidden_dim=128), 3), (CausalGRU(width=64), 16)
CASES: dict[str, tuple[type[GuidanceSettings], tuple[DenoiserSettings, int]]] = {
    "none, rowwise": (NoGuidance, ROWWISE),
    "transition, rowwise": (TransitionGradient, ROWWISE),
    "quantile, rowwise": (QuantileConditional, ROWWISE),
    "worst of m, rowwise": (WorstOfM, ROWWISE),
    "quantile, unet": (QuantileConditional, (TemporalUNet(), 16)),
    "worst of m, unet": (WorstOfM, (TemporalUNet(), 16)),
    "paper, gru": (PaperGuidance, WHOLE),
    "noise conditional, gru": (NoiseConditional, WHOLE),
}
"""Rule, denoiser and reverse steps; rules that follow gradients need a denoiser of whole trajectories."""
KEYS = ("guidance/return_shift", "guidance/quantile", "guidance/closed_loop_quantile", "model/replay_error")
LOOKS = tuple(zip(COLORS, MARKERS, strict=True))
FRESH_SEED = 3_000_000
FRESH_STEPS, FRESH_WINDOWS, FRESH_ROLLOUTS = 64, 64, 10


def fresh_data(
    path: str, algorithm: ADRRL, num_steps: int, horizon: int | None = None, force_std: float | None = None
) -> TrajectoryDataModule:
    """Fill a buffer with the checkpoint's policy in worlds like those of its training.

    Windows are as long and pushes, in newtons, as hard as there where None.
    """
    settings = dict(read_checkpoint(path)["datamodule_hyper_parameters"])
    if settings["pushes"] is not None:
        settings["pushes"] = Pushes(**settings["pushes"] | ({} if force_std is None else {"force_std": force_std}))
    settings |= {"curriculum": None, "recent_starts": 16 * num_steps, "seed": settings["seed"] + FRESH_SEED}
    data = TrajectoryDataModule(**settings | ({} if horizon is None else {"horizon": horizon}))
    data.setup("fit")
    assert isinstance(data.collector, RolloutCollector)
    assert data.buffer is not None
    data.buffer.add(data.collector.collect(algorithm, num_steps))
    return data


def train_models(module: ADRRL, data: TrajectoryDataModule, *, seconds: float, batch: int) -> int:
    """Train the models for some CPU time; return the number of updates."""
    parameters = module.world_model.models.trained_parameters()
    optimizer = torch.optim.Adam(parameters, lr=module.model_learning_rate, fused=True)
    used, updates = 0.0, 0
    while used < seconds:
        windows = data.buffer.sample_windows(batch)
        start = time.process_time()
        module.world_model.fit([windows], module.protagonist, optimizer)
        used, updates = used + time.process_time() - start, updates + 1
    return updates


def judge_errors(module: ADRRL, data: TrajectoryDataModule) -> None:
    """Let the models see how they err on fresh rollouts, as they do in each iteration of a run."""
    for _ in range(FRESH_ROLLOUTS):
        data.buffer.add(data.collector.collect(module, FRESH_STEPS))
        fresh = data.buffer.sample_windows(FRESH_WINDOWS, newest_steps=FRESH_STEPS)
        module.world_model.evaluate(fresh, module.protagonist)


def twin(trained: ADRRL, data: TrajectoryDataModule, settings: WorldModelSettings) -> ADRRL:
    """Give the policy of a run a world model of its own."""
    torch.manual_seed(0)
    module = ADRRL(data.spaces, learner=trained.learner, world_model=settings)
    module.protagonist.load_state_dict(trained.protagonist.state_dict())
    return module


def guided_per_second(module: ADRRL, starts: torch.Tensor) -> float:
    """Count guided transitions a second of CPU time."""
    begin, rows = time.process_time(), module.world_model.models.normalizer.horizon - 1
    for _ in range(3):
        module.imagine(starts, guided=True)
    return 3 * len(starts) * rows / (time.process_time() - begin)


def main() -> None:
    """Print and write one row a rule and tail level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.1])
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU time of training")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=5e-3)
    parser.add_argument("--experience", type=int, default=2048, help="steps of each world")
    parser.add_argument("--force_std", type=float, help="pushes, N; those of the training where missing")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("guidance_effect.csv"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_algorithm(args.checkpoint)
    if not isinstance(trained, ADRRL):
        raise SystemExit(f"{args.checkpoint} holds no AD-RRL run.")
    data = fresh_data(args.checkpoint, trained, num_steps=args.experience, force_std=args.force_std)
    starts = data.buffer.sample_starts(512, recent=data.recent_starts).observations
    diagnostics = ImaginationDiagnostics(starts=64, draws=32)
    for name in args.cases:
        kind, (denoiser, steps) = CASES[name]
        settings = WorldModelSettings(
            denoiser=denoiser,
            guidance=kind(),
            solver=FewStep(steps=steps),
            policy_guidance=Reparameterized(damping=0.9),
            learning_rate=args.learning_rate,
        )
        module = twin(trained, data, settings)
        updates = train_models(module, data, seconds=args.seconds, batch=args.batch)
        judge_errors(module, data)
        for alpha in args.alphas:
            module.world_model.guidance = dataclasses.replace(settings.guidance, alpha=alpha)
            for _ in range(15 if kind is NoiseConditional else 0):
                guided = module.imagine(starts, guided=True)
                module.world_model.strength.update_to_kl(guided.path_kl.mean(), alpha)
            measured = [diagnostics.diagnose(data, module) for _ in range(args.repeats)]
            row = {"env": data.env_id, "force_std": data.pushes and data.pushes.force_std}
            row |= {"case": name, "alpha": alpha, "updates": updates}
            row |= {key.split("/")[1]: sum(one[key] for one in measured) / args.repeats for key in KEYS}
            row["guided_per_second"] = round(guided_per_second(module, starts))
            append(args.output, row)
            print(*(f"{value:.3f}" if isinstance(value, float) else value for value in row.values()), flush=True)
    draw(pd.read_csv(args.output)).savefig(args.output.with_suffix(".png"), dpi=120, bbox_inches="tight")


def draw(rows: pd.DataFrame) -> Figure:
    """Draw the quantiles over the tail level, beside what is promised; those with the policy reacting are dashed."""
    figure, axes = new_figure(height=5.4)
    levels = sorted(rows.alpha.unique())
    axes.fill_between(
        levels, [level / 2 for level in levels], levels, color="0.85", label="promised: alpha / 2 to alpha"
    )
    for (color, marker), (name, case) in zip(LOOKS, rows.groupby(["env", "force_std", "case"]), strict=False):
        label = "{}, {:g} N: {}".format(*name)
        axes.plot(case.alpha, case["quantile"], color=color, marker=marker, label=label)
        axes.plot(case.alpha, case.closed_loop_quantile, color=color, linestyle="--")
    axes.set(xscale="log", xticks=levels, xticklabels=[f"{level:g}" for level in levels], ylim=(0.0, 0.8))
    axes.set(xlabel="alpha", ylabel="quantile of imagined returns in the true law")
    axes.minorticks_off()
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def append(path: Path, row: dict[str, object]) -> None:
    """Write one row at once, so that a run that is stopped keeps what it has measured."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
