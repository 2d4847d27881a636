"""What the algorithms are for: they learn."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import torch
from lightning import seed_everything

import train
from rrl.algorithms import TRPO
from rrl.checkpoints import load_policy, read_checkpoint
from rrl.cvar import empirical_cvar
from rrl.diffusion import (
    DenoiserSettings,
    FewStep,
    GuidanceSettings,
    NoGuidance,
    QuantileConditional,
    ResidualMLP,
    ResidualSizes,
    RowwiseGRU,
    TransitionGradient,
    WorstOfM,
)
from rrl.evaluation.attacks.evaluate import AttackCell, AttackOptions, evaluate_attack
from rrl.evaluation.episodes import Trial
from rrl.tracking.outbox import read_lines
from rrl.trpo import TrustRegion
from tests.conftest import PROJECT
from tests.environments import Wind
from tests.fitting import adrrl, fit, rollouts, trajectories


def learn(env_id: str, *, iterations: int, num_steps: int = 64, max_kl: float = 0.01) -> dict[str, torch.Tensor]:
    data = rollouts(env_id, num_envs=16, num_steps=num_steps, iterations_per_epoch=iterations)
    seed_everything(0, verbose=False)
    return fit(TRPO(data.spaces, policy_update=TrustRegion(max_kl=max_kl)), data).callback_metrics


def run(*configs: str) -> None:
    assert train.main([f"--config={PROJECT / 'conf' / config}" for config in configs]) == 0


def histories(workdir, config: str) -> dict[str, list[float]]:
    run(config)
    (file,) = workdir.glob("runs/*/metrics.jsonl")
    values = defaultdict(list)
    for record in read_lines(file):
        for name, value in record["metrics"].items():
            values[name].append(value)
    return values


def test_trpo_finds_the_best_arm():
    assert learn("toy/Bandit-v0", iterations=15, max_kl=0.05)["rollout/episode_return_mean"] > -0.05


@pytest.mark.slow
def test_trpo_brings_the_point_mass_to_rest():
    assert learn("toy/PointMass-v0", iterations=1)["rollout/episode_return_mean"] < -100.0
    assert learn("toy/PointMass-v0", iterations=60)["rollout/episode_return_mean"] > -6.0


@pytest.mark.slow
@pytest.mark.mujoco
def test_trpo_balances_the_pendulum_for_a_whole_episode(workdir):
    assert histories(workdir, "trpo_invertedpendulum.yaml")["eval/return_mean"][-1] == 1000.0


@pytest.mark.slow
@pytest.mark.mujoco
def test_the_quickstart_learns_and_imagines_worse_returns_when_guided(workdir):
    logged = histories(workdir, "quickstart.yaml")
    assert max(logged["eval/return_mean"]) > 900.0
    assert logged["guidance/return_shift"][-1] < -0.5  # standard deviations within a start state


def return_under_the_worst_held_push(folder: Path) -> float:
    (last,) = folder.glob("runs/*/checkpoints/last.ckpt")
    worlds = read_checkpoint(last)["rrl"]["worlds"]
    trial = Trial(worlds["env_id"], 20, env_kwargs=worlds["env_kwargs"])
    found = evaluate_attack(load_policy(last).act, trial, AttackCell("strongest", 2.5), AttackOptions(restarts=0))
    return found.row.return_mean


@pytest.mark.slow
@pytest.mark.mujoco
def test_rarl_loses_less_under_force_than_trpo(tmp_path, monkeypatch):
    returns = []
    for name, controls in (("rarl", []), ("trpo", ["controls/no_adversary.yaml"])):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        run("rarl_doublependulum_10.yaml", *controls)
        returns.append(return_under_the_worst_held_push(tmp_path / name))
    rarl, trpo = returns
    assert rarl > 2.0 * trpo


def windy_tail(guidance: GuidanceSettings, seed: int, denoiser: DenoiserSettings) -> float:
    """Train on the toy where speed pays on average and costs in the tail; return the mean of the worst tenth."""
    data = trajectories(
        "toy/Wind-v0",
        num_envs=16,
        num_steps=64,
        iterations_per_epoch=60,
        model_updates=30,
        model_batch_size=64,
        imagined_trajectories=512,
        buffer_size=16384,
        recent_starts=4096,
    )
    module = adrrl(
        data,
        seed=seed,
        guidance=guidance,
        guided_fraction=1.0,
        real_fraction=0.2,
        warmup=8000,
        guidance_warmup=8000,
        denoiser=denoiser,
        return_model=ResidualSizes(hidden_dim=64, num_layers=1),
        solver=FewStep(steps=16),
        hidden_sizes=[16],
        value_epochs=5,
        value_batch_size=256,
        max_kl=0.005,
        initial_log_std=-1.0,
    )
    fit(module, data)
    winds = torch.randn(2000, 9, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        speeds = module.protagonist.mean_and_std(winds[:, :-1])[0].clamp(-2.0, 2.0)
    returns = Wind.reward(speeds, winds[:, 1:]).sum(dim=(1, 2))
    return float(empirical_cvar(returns, 0.1))


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [WorstOfM(), QuantileConditional(), TransitionGradient()], ids=type)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_tail_of_adrrl_is_better_than_that_of_its_unguided_twin(seed, guidance):
    rowwise, whole = RowwiseGRU(width=16, hidden_dim=64), ResidualMLP(hidden_dim=64, num_layers=1)
    denoiser = rowwise if isinstance(guidance, TransitionGradient) else whole
    assert windy_tail(guidance, seed, denoiser) > windy_tail(NoGuidance(), seed, denoiser) + 4.0


def training_return(workdir: Path, config: str, seed: int) -> float:
    """Train for 100k steps; return the mean return of the last 30k steps' episodes, in the worlds of the training."""
    arguments = [f"--config={PROJECT / 'conf' / config}", f"--seed_everything={seed}", "--trainer.max_epochs=10"]
    name = f"{Path(config).stem}_{seed}"
    quiet = ["--evaluation.every_n_epochs=100", f"--trainer.logger.init_args.run_name={name}"]
    assert train.main([*arguments, *quiet]) == 0
    records = read_lines(workdir / "runs" / name / "metrics.jsonl")
    key = "rollout/episode_return_mean"
    returns = [record["metrics"][key] for record in records if key in record["metrics"]]
    return sum(returns[-30:]) / 30


@pytest.mark.slow
@pytest.mark.mujoco
def test_adrrl_on_walker_is_not_below_trpo_in_the_same_worlds(workdir):
    adrrl_return, trpo_return = (
        sum(training_return(workdir, config, seed) for seed in (0, 1, 2)) / 3
        for config in ("adrrl_walker.yaml", "trpo_walker_uncertain.yaml")
    )
    # Seeds differ by a fifth. Too little damping once left AD-RRL at less than two thirds.
    assert adrrl_return > 0.8 * trpo_return
