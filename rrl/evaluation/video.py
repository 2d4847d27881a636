"""A short film of a policy in one condition."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.episode_queue import EpisodeQueue
from rrl.evaluation.cells.stages import NativeStage
from rrl.evaluation.episodes import BatchPolicy, Trial

FRAMES_PER_SECOND = 25
LONGEST = 10.0
"""Seconds of simulated time; a GIF of more grows large."""
HEIGHT, WIDTH = 240, 320


class VideoError(RuntimeError):
    """A machine that cannot draw; the message is one line for the user."""


def film(policy: BatchPolicy, trial: Trial, condition: Condition, path: Path) -> None:
    """Film the first episode of a policy on a native task as a GIF file, as ``evaluate_cells`` runs it.

    The condition itself is not drawn, only its effect. Where nothing can be drawn that is a VideoError.
    """
    # MuJoCo takes its graphics library when it is imported, and a missing one can take the process with it.
    from joblib.externals.loky import ProcessPoolExecutor

    positions, step_seconds, model_path = record_positions(policy, trial, condition)
    every = max(round(1.0 / (FRAMES_PER_SECOND * step_seconds)), 1)
    shown = positions[: int(LONGEST / step_seconds) : every]
    library = {"MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    pool = ProcessPoolExecutor(max_workers=1, env=library)
    try:
        pool.submit(draw, model_path, shown, path, 1000.0 * every * step_seconds).result()
    except Exception as error:  # a missing library shows itself in many ways
        raise VideoError(
            "No video: drawing needs EGL or OSMesa; `apt-get install libegl1`, or `libosmesa6` with MUJOCO_GL=osmesa."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def record_positions(
    policy: BatchPolicy, trial: Trial, condition: Condition
) -> tuple[NDArray[np.float64], float, Path]:
    """Run one episode; return the model's positions before each step ``[T, nq]``, seconds of a step, and its file."""
    queue = EpisodeQueue(replace(trial, num_episodes=1), [condition])
    stage = cast(NativeStage, queue.stage)
    seen: list[NDArray[np.float64]] = []

    def watched(observations: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(stage.positions[0])
        return policy(observations)

    list(queue.run(watched))
    return np.stack(seen), stage.step_seconds, stage.model_path


def draw(model_path: Path, positions: NDArray[np.float64], path: Path, milliseconds: float) -> None:
    """Draw a model at generalised positions ``[frames, nq]``, each for some milliseconds, as a GIF file."""
    import imageio.v3 as imageio
    import mujoco

    model = mujoco.MjModel.from_xml_path(str(model_path))
    data, frames = mujoco.MjData(model), []
    tracked = "track" if any(model.camera(index).name == "track" for index in range(model.ncam)) else -1
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for position in positions:
            data.qpos[:] = position
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera=tracked)
            frames.append(renderer.render())
    imageio.imwrite(path, np.stack(frames), extension=".gif", duration=milliseconds, loop=0)
