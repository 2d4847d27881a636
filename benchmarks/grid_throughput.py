"""Time the 121-cell grid of mass and friction, and compare it with a plain loop over Gymnasium's environment.

The loop runs a few cells of the same grid with the same initial states, before and after the grid, so that the load of
the machine falls on both. Only the grid can use more than one core: read the ratio of environment steps per second next
to the cores that were really used, and to the ratio per CPU-second, which other load hardly touches.

    python benchmarks/grid_throughput.py --checkpoint runs/<run>/checkpoints/last.ckpt
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
import torch

from rrl import load_policy
from rrl.envs.tasks import make_task
from rrl.evaluation import Cell, evaluate_cells, load_suite
from rrl.evaluation.cells.disturbances import EpisodeDraws
from rrl.evaluation.episodes import BatchPolicy, Trial

SWEEP = "mass x friction"


class Speed(NamedTuple):
    """What one side took."""

    steps: float
    """Environment steps."""
    seconds: float
    """Wall clock."""
    cpu_seconds: float
    """CPU time, over all threads."""

    def __str__(self) -> str:
        """Lay it out."""
        cores = self.cpu_seconds / self.seconds
        return (
            f"{self.steps:>9,.0f} steps in {self.seconds:6.1f} s: {self.per_second:>7,.0f} steps/s, {cores:.2f} cores"
        )

    @property
    def per_second(self) -> float:
        """Environment steps per second of wall time."""
        return self.steps / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Environment steps per second of CPU time."""
        return self.steps / self.cpu_seconds


def main() -> None:
    """Print wall clock, steps per second and their ratio."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    suite = load_suite("fraction", Trial(arguments.env_id, 1))
    cells = [cell for cell in suite.cells if cell.sweep == SWEEP]
    few = cells[:: max(1, len(cells) // arguments.loop_cells)][: arguments.loop_cells]
    policy = choose_policy(arguments)
    before = measure(lambda: run_loop(policy, few, arguments))
    grid = measure(lambda: run_grid(policy, cells, arguments))
    after = measure(lambda: run_loop(policy, few, arguments))
    loop = Speed(*(first + second for first, second in zip(before, after, strict=True)))
    longest = len(cells) * arguments.episodes * make_task(arguments.env_id).max_episode_steps
    print(f"grid, {len(cells):>3} cells  {grid}")
    print(f"loop, {2 * len(few):>3} cells  {loop}")
    print(
        f"ratio {grid.per_second / loop.per_second:.2f}, per CPU-second {grid.per_cpu_second / loop.per_cpu_second:.2f}"
    )
    print(f"a grid whose episodes all last to the time limit: {longest / grid.per_second:.0f} s at this speed")


def parse_arguments() -> argparse.Namespace:
    """Read the settings from the command line.

    Returns:
        The settings.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--checkpoint", default=None, help="a trained policy; a fixed linear one if not given")
    parser.add_argument("--env-id", default="Hopper-v5", help="a task with contacts")
    parser.add_argument("--episodes", type=int, default=10, help="episodes of each cell")
    parser.add_argument("--loop-cells", type=int, default=3, help="cells that the loop runs, twice")
    parser.add_argument("--num-threads", type=int, default=None, help="native threads; one per core if not given")
    return parser.parse_args()


def choose_policy(arguments: argparse.Namespace) -> BatchPolicy:
    """Load the policy, or make a linear one.

    Args:
        arguments: The settings.

    Returns:
        From observations to actions.
    """
    if arguments.checkpoint is not None:
        return load_policy(arguments.checkpoint).act
    env = gymnasium.make(arguments.env_id)
    shape = (*env.observation_space.shape, *env.action_space.shape)
    weights = 0.1 * np.random.default_rng(0).standard_normal(shape)
    return lambda observations: np.tanh(observations @ weights)


def measure(run: Callable[[], float]) -> Speed:
    """Time one side.

    Args:
        run: Returns the steps that it made.

    Returns:
        Steps and time.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    steps = run()
    return Speed(steps, time.perf_counter() - start, time.process_time() - cpu_start)


def run_grid(policy: BatchPolicy, cells: Sequence[Cell], arguments: argparse.Namespace) -> float:
    """Run all cells natively.

    Args:
        policy: The policy.
        cells: The cells.
        arguments: The settings.

    Returns:
        Environment steps.
    """
    trial = Trial(arguments.env_id, arguments.episodes)
    rows = list(evaluate_cells(policy, trial, cells, num_threads=arguments.num_threads))
    return sum(row.length_mean * row.episodes for row in rows)


def run_loop(policy: BatchPolicy, cells: Sequence[Cell], arguments: argparse.Namespace) -> float:
    """Run some cells in Gymnasium's environment, one episode after another.

    Args:
        policy: The policy.
        cells: The cells.
        arguments: The settings.

    Returns:
        Environment steps.
    """
    steps = 0
    for cell in cells:
        env = gymnasium.make(arguments.env_id)
        change_physics(env, dict(cell.axes))
        steps += sum(run_episodes(env, policy, arguments))
        env.close()
    return steps


def change_physics(env: gymnasium.Env[Any, Any], factors: dict[str, float]) -> None:
    """Edit the model of an environment by hand.

    Args:
        env: The environment.
        factors: Of ``mass`` and ``friction``.
    """
    model = env.unwrapped.model
    model.body_mass[:] *= factors["mass"]
    model.body_inertia[:] *= factors["mass"]
    model.geom_friction[:] *= factors["friction"]
    mujoco.mj_setConst(model, mujoco.MjData(model))


def run_episodes(env: gymnasium.Env[Any, Any], policy: BatchPolicy, arguments: argparse.Namespace) -> list[int]:
    """Run the episodes of one cell.

    Args:
        env: The environment.
        policy: The policy.
        arguments: The settings.

    Returns:
        Their lengths.
    """
    world = env.unwrapped
    env.reset()
    sizes = {"obs_dim": env.observation_space.shape[0], "action_dim": env.action_space.shape[0]}
    draws = EpisodeDraws(0, arguments.episodes, num_steps=env.spec.max_episode_steps, **sizes)
    initial = world.init_qpos, world.init_qvel
    lengths = []
    for positions, velocities in zip(*draws.initial_states(make_task(arguments.env_id), initial, None), strict=True):
        env.reset()
        world.set_state(positions, velocities)
        observation, ended, length = world._get_obs(), False, 0
        while not ended:
            observation, _, terminated, truncated, _ = env.step(policy(observation[None])[0])
            ended, length = terminated or truncated, length + 1
        lengths.append(length)
    return lengths


if __name__ == "__main__":
    main()
