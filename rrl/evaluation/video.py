"""Short films of several policies in one condition, each a picture that moves."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.episode_queue import Episode, EpisodeQueue
from rrl.evaluation.cells.stages import NativeStage
from rrl.evaluation.episodes import BatchPolicy, Trial

if TYPE_CHECKING:
    from PIL.Image import Image

FRAMES_PER_SECOND = 10.0
LONGEST = 5.0
"""Seconds of simulated time; more makes a page large."""
HEIGHT, WIDTH = 240, 320
QUALITY = 50
"""Of the compression, in percent."""
END = 1.5
"""Seconds that the last picture stays before a film begins again."""
COARSEST = 12.0
"""Repetitions of a texture, at most: the fine squares of most floors are half of a film's bytes."""


class VideoError(RuntimeError):
    """A machine that cannot draw; the message is one line for the user."""


class Recording(NamedTuple):
    """An episode and where everything was."""

    positions: NDArray[np.float64]
    """Generalised positions of the model before each step. Shape ``[T, nq]``."""
    episode: Episode
    step_seconds: float
    model_path: Path


class Film(NamedTuple):
    """A film, and the episode that it shows the beginning of."""

    image: bytes
    """An animated WebP picture."""
    episode: Episode
    seconds: float
    """Simulated time that the whole episode takes."""


def film(policies: Mapping[str, BatchPolicy], trial: Trial, condition: Condition) -> dict[str, Film]:
    """Film the first episode of each policy on a native task, as ``evaluate_cells`` runs it.

    All films have the same length, so that they go on beside each other in step; what has ended stays, pale, and the
    last picture stays for a while. The condition itself is not drawn, only its effect. Where nothing can be drawn that
    is a VideoError.
    """
    # MuJoCo takes its graphics library when it is imported, and a missing one can take the process with it.
    from joblib.externals.loky import ProcessPoolExecutor

    recordings = [record(policy, trial, condition) for policy in policies.values()]
    model_path, seconds = recordings[0].model_path, recordings[0].step_seconds
    every = max(round(1.0 / (FRAMES_PER_SECOND * seconds)), 1)
    longest = int(LONGEST / seconds)
    shown = [recording.positions[:longest:every] for recording in recordings]
    over = [len(recording.positions) <= longest for recording in recordings]
    pool = ProcessPoolExecutor(max_workers=1, env={"MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")})
    try:
        images = pool.submit(draw, model_path, shown, over, 1000.0 * every * seconds).result()
    except Exception as error:  # a missing library shows itself in many ways
        raise VideoError(
            "No video: drawing needs EGL or OSMesa; `apt-get install libegl1`, or `libosmesa6` with MUJOCO_GL=osmesa."
        ) from error
    finally:
        pool.shutdown(kill_workers=True)
    return {
        name: Film(image, recording.episode, recording.episode.length * seconds)
        for name, image, recording in zip(policies, images, recordings, strict=True)
    }


def record(policy: BatchPolicy, trial: Trial, condition: Condition) -> Recording:
    """Run the first episode of a trial on a native task, and note where everything was."""
    queue = EpisodeQueue(replace(trial, num_episodes=1), [condition])
    stage = cast(NativeStage, queue.stage)
    seen: list[NDArray[np.float64]] = []

    def watched(observations: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(stage.positions[0])
        return policy(observations)

    (episode,) = queue.run(watched)
    return Recording(np.stack(seen), episode, stage.step_seconds, stage.model_path)


def draw(
    model_path: Path, films: Sequence[NDArray[np.float64]], over: Sequence[bool], milliseconds: float
) -> list[bytes]:
    """Draw a model at generalised positions ``[frames, nq]`` of each film, each for some milliseconds.

    ``over`` tells of each film whether its episode ends with it.
    """
    import mujoco
    from PIL import Image as Pictures

    model = mujoco.MjModel.from_xml_path(str(model_path))
    model.mat_texrepeat[:] = np.minimum(model.mat_texrepeat, COARSEST)
    data, length = mujoco.MjData(model), max(map(len, films))
    tracked = "track" if any(model.camera(index).name == "track" for index in range(model.ncam)) else -1
    drawn = []
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = False  # most of the time without a graphics card, and of no use here
        for positions, ends in zip(films, over, strict=True):
            frames = []
            for position in positions:
                data.qpos[:] = position
                mujoco.mj_forward(model, data)
                renderer.update_scene(data, camera=tracked)
                frames.append(Pictures.fromarray(renderer.render()))
            pale = Pictures.blend(frames[-1], Pictures.new("RGB", (WIDTH, HEIGHT), "white"), 0.6)
            drawn.append(frames + [pale] * (length - len(frames)) + [pale if ends else frames[-1]])
    return [_encode(frames, milliseconds) for frames in drawn]


def _encode(frames: Sequence[Image], milliseconds: float) -> bytes:
    file = io.BytesIO()
    first, *others = frames
    durations = [round(milliseconds)] * len(others) + [round(1000.0 * END)]
    how = {"duration": durations, "loop": 0, "quality": QUALITY}
    first.save(file, "WEBP", save_all=True, append_images=others, **how)
    return file.getvalue()
