"""A short film of a policy in one condition."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrl.envs.tasks import make_task
from rrl.evaluation.conditions import Condition
from rrl.evaluation.episode_queue import EpisodeQueue, Policy
from rrl.evaluation.policies import base_task

FRAMES_PER_SECOND = 25
LONGEST = 10.0
"""Seconds of simulated time; a GIF of more grows large."""
HEIGHT, WIDTH = 240, 320


class VideoError(RuntimeError):
    """A machine that cannot draw; the message is one line for the user."""


def film(
    policy: Policy,
    env_id: str,
    condition: Condition,
    path: Path,
    *,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Film the first episode of a policy in a condition, as :func:`~rrl.evaluation.grids.evaluate_cells` runs it.

    Args:
        policy: The policy.
        env_id: A native task.
        condition: How the world differs from the nominal one; it is not drawn, only its effect.
        path: The GIF file.
        seed: Seed of the evaluation.
        env_kwargs: Numeric options of the environment.

    Raises:
        VideoError: If nothing can be drawn here.
    """
    # MuJoCo takes its graphics library when it is imported, and a missing one can take the process with it.
    from joblib.externals.loky import ProcessPoolExecutor

    positions, step_seconds = record_positions(policy, env_id, condition, seed=seed, env_kwargs=env_kwargs)
    every = max(round(1.0 / (FRAMES_PER_SECOND * step_seconds)), 1)
    shown = positions[: int(LONGEST / step_seconds) : every]
    library = {"MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    pool = ProcessPoolExecutor(max_workers=1, env=library)
    try:
        pool.submit(draw, env_id, shown, path, 1000.0 * every * step_seconds).result()
    except Exception as error:  # a missing library shows itself in many ways
        raise VideoError(
            "No video: drawing needs EGL or OSMesa; `apt-get install libegl1`, or `libosmesa6` with MUJOCO_GL=osmesa."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def record_positions(
    policy: Policy, env_id: str, condition: Condition, *, seed: int, env_kwargs: Mapping[str, Any] | None
) -> tuple[NDArray[np.float64], float]:
    """Run one episode and remember where the model was.

    Args:
        policy: The policy.
        env_id: A native task.
        condition: The condition.
        seed: Seed of the evaluation.
        env_kwargs: Numeric options of the environment.

    Returns:
        Positions before each step ``[T, nq]``, and the seconds of a step.
    """
    queue = EpisodeQueue(env_id, [condition], num_episodes=1, seed=seed, env_kwargs=env_kwargs)
    seen: list[NDArray[np.float64]] = []

    def watched(observations: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(queue.positions[0])
        return policy(observations)

    list(queue.run(watched))
    return np.stack(seen), queue.step_seconds


def draw(env_id: str, positions: NDArray[np.float64], path: Path, milliseconds: float) -> None:
    """Draw the model of a task at given positions.

    Args:
        env_id: A native task.
        positions: Generalised positions. Shape ``[frames, nq]``.
        path: The GIF file.
        milliseconds: Time of a frame.
    """
    import imageio.v3 as imageio
    import mujoco

    model = mujoco.MjModel.from_xml_path(str(make_task(base_task(env_id)).model_path))
    data, frames = mujoco.MjData(model), []
    tracked = "track" if any(model.camera(index).name == "track" for index in range(model.ncam)) else -1
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for position in positions:
            data.qpos[:] = position
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera=tracked)
            frames.append(renderer.render())
    imageio.imwrite(path, np.stack(frames), extension=".gif", duration=milliseconds, loop=0)
