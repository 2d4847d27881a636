"""Compare the native worlds with Gymnasium's vector environment, each with a policy in the loop.

Both sides run in turns within one process; the best turn of each counts. Only the native side can use more than one
core, so its wall-clock ratio means what it says only if the machine is otherwise idle: read it next to the cores that
were really used, and to the ratio per CPU-second, which other load hardly touches.

    python benchmarks/env_throughput.py --num-envs 32
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

from rrl.envs import MuJoCoVectorEnv

Step = Callable[[], None]


class Speed(NamedTuple):
    """What one turn reached."""

    per_second: float
    """Environment steps per second of wall time."""
    cores: float
    """CPU-seconds per second of wall time, over all threads."""


def main() -> None:
    """Print environment steps per second and their ratio."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    print(
        f"{'task':<28}{'native steps/s':>16}{'cores':>7}{'Gymnasium steps/s':>20}{'cores':>7}{'ratio':>8}{'/CPU-s':>8}"
    )
    for env_id in arguments.env_ids:
        native, theirs = compare(env_id, arguments)
        ratio = native.per_second / theirs.per_second
        print(
            f"{env_id:<28}{native.per_second:>16,.0f}{native.cores:>7.2f}{theirs.per_second:>20,.0f}{theirs.cores:>7.2f}"
            f"{ratio:>8.2f}{ratio * theirs.cores / native.cores:>8.2f}"
        )


def parse_arguments() -> argparse.Namespace:
    """Read the settings from the command line.

    Returns:
        The settings.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--env-ids", nargs="+", default=["Hopper-v5", "Walker2d-v5"], help="tasks to compare")
    parser.add_argument("--num-envs", type=int, default=32, help="worlds side by side, on both sides")
    parser.add_argument("--num-threads", type=int, default=None, help="native threads; one per core if not given")
    parser.add_argument("--turns", type=int, default=4, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a turn")
    return parser.parse_args()


def compare(env_id: str, arguments: argparse.Namespace) -> tuple[Speed, Speed]:
    """Measure one task on both sides.

    Args:
        env_id: The task.
        arguments: The settings.

    Returns:
        The fastest turns: native, Gymnasium's.
    """
    native = MuJoCoVectorEnv(env_id, arguments.num_envs, num_threads=arguments.num_threads)
    reference = gymnasium.make_vec(
        env_id,
        arguments.num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    sides = [loop(native), loop(reference)]
    turns = [[speed(step, arguments.num_envs, arguments.seconds) for step in sides] for _ in range(arguments.turns)]
    native.close()
    reference.close()
    return max(turn[0] for turn in turns), max(turn[1] for turn in turns)


def loop(envs: Any) -> Step:
    """Put a Gaussian policy with two hidden layers of 64 in front of environments.

    Args:
        envs: Gymnasium vector environments.

    Returns:
        A function that makes one step of all of them.
    """
    (num_features,), (num_actions,) = envs.single_observation_space.shape, envs.single_action_space.shape
    torch.manual_seed(0)
    hidden = [nn.Linear(num_features, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
    policy = nn.Sequential(*hidden, nn.Linear(64, num_actions))
    latest = envs.reset(seed=0)[0]

    @torch.inference_mode()
    def step() -> None:
        nonlocal latest
        mean = policy(torch.as_tensor(latest, dtype=torch.float32))
        actions = (mean + 0.6 * torch.randn_like(mean)).numpy()
        latest = envs.step(np.clip(actions, -1.0, 1.0))[0]

    return step


def speed(step: Step, num_envs: int, seconds: float) -> Speed:
    """Time one turn.

    Args:
        step: Steps all environments once.
        num_envs: How many they are.
        seconds: How long to go on.

    Returns:
        What was reached.
    """
    calls, start, cpu_start = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - start) < seconds:
        step()
        calls += 1
    return Speed(num_envs * calls / elapsed, (time.process_time() - cpu_start) / elapsed)


if __name__ == "__main__":
    main()
