"""Train sb3-contrib's TRPO, the reference that ours is compared with, and append one CSV row a run.

Needs ``pip install sb3-contrib``. The protocol: 8 environments, 512 steps each, ``VecNormalize`` on observations and
rewards, every other setting at its default; the final policy is judged by its mean action on unnormalised rewards.

    python benchmarks/train_sb3_trpo.py --env Hopper-v5 --seeds 0 1 2 --steps 300000 --output sb3.csv

With ``--save FOLDER`` the policies are kept, for ``evaluate.py --config``: ``FOLDER/<seed>.zip`` and the statistics.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import gymnasium
import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

EVALUATION_SEED = 1_000_000


def train(env_id: str, seed: int, steps: int) -> tuple[TRPO, VecNormalize, float]:
    """Train one policy and return it with its normaliser and the wall-clock seconds of the whole run."""
    start = time.perf_counter()
    envs = VecNormalize(make_vec_env(env_id, n_envs=8, seed=seed))
    model = TRPO("MlpPolicy", envs, n_steps=512, seed=seed, device="cpu")
    model.learn(total_timesteps=steps)
    return model, envs, time.perf_counter() - start


def evaluate(model: TRPO, envs: VecNormalize, env_id: str, num_episodes: int) -> list[float]:
    """Return the undiscounted returns of the mean action on fresh, nominal episodes."""
    env, returns = gymnasium.make(env_id), []
    for episode in range(num_episodes):
        observation, _ = env.reset(seed=EVALUATION_SEED + episode)
        total, over = 0.0, False
        while not over:
            action, _ = model.predict(envs.normalize_obs(observation), deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return returns


def main() -> None:
    """Train and evaluate each seed in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("sb3_trpo.csv"))
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        model, envs, seconds = train(args.env, seed, args.steps)
        if args.save is not None:
            args.save.mkdir(parents=True, exist_ok=True)
            model.save(args.save / f"{seed}.zip")
            envs.save(str(args.save / f"{seed}_vecnormalize.pkl"))
        returns = evaluate(model, envs, args.env, args.episodes)
        new = not args.output.exists()
        with args.output.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["method", "env", "seed", "env_steps", "train_seconds", "return_mean", "return_std"])
            row = ["sb3-contrib TRPO", args.env, seed, model.num_timesteps, round(seconds, 1)]
            writer.writerow([*row, round(float(np.mean(returns)), 1), round(float(np.std(returns)), 1)])


if __name__ == "__main__":
    main()
