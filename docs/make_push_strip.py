r"""Draw one push that one policy survives and another does not: a strip of frames for each, as one picture.

Both start alike and are pushed in the same step, in the first of 20 episodes where the first policy falls within two
seconds and the second does not; beneath stands how often each falls in 20 episodes with that push, and without.
It needs EGL or OSMesa (``MUJOCO_GL``).

    python docs/make_push_strip.py --policies "TRPO, seed 1=runs/trpo_hopper_1" "AD-RRL, seed 0=runs/adrrl_hopper_0" \
        --push 350 --output docs/images/push.png
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
import numpy as np
from matplotlib.figure import Figure

from rrl.envs.tasks import make_task
from rrl.evaluation import Cell, evaluate_cells
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.disturbances import EpisodeDraws
from rrl.evaluation.episodes import Trial
from rrl.evaluation.policies import LoadedPolicy, find_policies, load_source
from rrl.evaluation.report.figures_style import COLORS, INK
from rrl.evaluation.video import record

ENV_ID, EPISODES = "Hopper-v5", 20
WINDOW, BEFORE, FRAMES = 2.0, 0.1, 8
"""Seconds after the push within which one must fall, seconds of the first frame before it, number of frames."""
HEIGHT, WIDTH = 360, 300
CAMERA = {"distance": 3.4, "azimuth": 90.0, "elevation": -6.0}


def draw_frames(positions: np.ndarray, steps: list[int]) -> list[np.ndarray]:
    """Draw the model at some of its positions ``[T, nq]``; after a fall its last one stays."""
    model = mujoco.MjModel.from_xml_path(str(make_task(ENV_ID).model_path))
    data, camera, drawn = mujoco.MjData(model), mujoco.MjvCamera(), []
    for name, value in CAMERA.items():
        setattr(camera, name, value)
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for step in steps:
            data.qpos[:] = positions[min(step, len(positions) - 1)]
            mujoco.mj_forward(model, data)
            camera.lookat[:] = data.qpos[0], 0.0, 0.8
            renderer.update_scene(data, camera=camera)
            drawn.append(renderer.render().copy())
    return drawn


def count_falls(policy: LoadedPolicy, push: float) -> str:
    """Say what a policy returns without the push, and how often it falls with and without."""
    conditions = [Condition.of({"push_impulse": force}) for force in (0.0, push)]
    cells = [Cell("picture", "push", str(place), condition) for place, condition in enumerate(conditions)]
    rows = {row.cell: row for row in evaluate_cells(policy.act, Trial(ENV_ID, EPISODES, 0, {}), cells)}
    calm, pushed = (round(EPISODES * rows[name].failure_rate) for name in ("0", "1"))
    calm_return = f"returns {rows['0'].return_mean:,.0f} and falls in {calm} of {EPISODES} episodes without the push"
    return f"{calm_return}; falls in {pushed} of {EPISODES} with it"


def find_episode(policies: list[LoadedPolicy], push: float) -> tuple[list[np.ndarray], int, float]:
    """Find the episode: the positions of each policy, the step of the push, the seconds of a step."""
    condition = Condition.of({"push_impulse": push})
    for seed in range(EPISODES):
        found = [record(policy.act, Trial(ENV_ID, 1, seed, {}), condition) for policy in policies]
        num_steps, seconds = make_task(ENV_ID).max_episode_steps, found[0].step_seconds
        at = int(EpisodeDraws(seed, 1, num_steps=num_steps, obs_dim=1, action_dim=1).push_times[0])
        until = [len(each.positions) - at for each in found]
        if min(until) > 0 and until[0] * seconds < WINDOW <= until[1] * seconds:
            return [each.positions for each in found], at, seconds
    raise SystemExit(f"In none of {EPISODES} episodes the first alone falls within {WINDOW} s; choose another --push.")


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs=2, required=True, metavar="NAME=RUN")
    parser.add_argument("--push", type=float, default=350.0, help="newtons, in one step")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    named = dict(entry.split("=", 1) for entry in args.policies)
    policies = [load_source(find_policies({name: [run]})[0]) for name, run in named.items()]
    episode, at, seconds = find_episode(policies, args.push)
    last = (min(map(len, episode)) - at) * seconds
    moments = [*np.linspace(-BEFORE, 0.0, 2), *np.linspace(0.0, last, FRAMES - 1)[1:]]
    figure = Figure(figsize=(10.0, 3.75))
    figure.suptitle(f"The same push of {args.push:.0f} N, the same start", x=0.01, ha="left", fontsize=11, color=INK)
    for line, (name, policy, positions) in enumerate(zip(named, policies, episode, strict=True)):
        steps = [at + round(moment / seconds) for moment in moments]
        for place, (image, moment, step) in enumerate(zip(draw_frames(positions, steps), moments, steps, strict=True)):
            axes = figure.add_axes((0.01 + place * 0.1235, 0.54 - 0.45 * line, 0.118, 0.31))
            axes.imshow(image, aspect="auto")
            axes.set_axis_off()
            fallen = step >= len(positions)
            title = "falls" if fallen else f"{moment:+.2f} s"
            axes.set_title(title, fontsize=8, color=COLORS[1] if fallen else INK, pad=2)
            if place == 1:
                arrow = {"arrowstyle": "-|>", "color": COLORS[1], "linewidth": 3}
                tip, tail = (0.46 * WIDTH, 0.4 * HEIGHT), (0.02 * WIDTH, 0.4 * HEIGHT)
                axes.annotate("", tip, tail, arrowprops=arrow)
        sentence = f"{name}: {count_falls(policy, args.push)}"
        figure.text(0.01, 0.5 - 0.45 * line, sentence, fontsize=9.5, color=INK)
        print(sentence)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output, dpi=110)


if __name__ == "__main__":
    main()
