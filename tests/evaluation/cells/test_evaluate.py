from dataclasses import asdict

import gymnasium
import mujoco
import numpy as np
import pytest

import tests.environments  # noqa: F401  (registers the toys)
from rrl.envs.tasks import make_task
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.disturbances import EpisodeDraws
from rrl.evaluation.cells.evaluate import evaluate_cells
from rrl.evaluation.cells.suites import Cell, load_suite
from rrl.evaluation.episodes import Trial
from rrl.evaluation.rows import PolicyLabel
from tests.evaluation.row_policies import linear_policy

pytestmark = pytest.mark.mujoco

HOPPER = linear_policy(11, 3)
EPISODES = 3


def make_cell(**values: float) -> Cell:
    return Cell("mine", "row", str(values), Condition.of(values), tuple(values.items()))


def evaluate(cells, *, env_id: str = "Hopper-v5", policy=HOPPER, seed: int = 0, **options) -> dict:
    """Rows by cell without the time that they took, and with what is not a number as None, which equals itself."""
    rows = evaluate_cells(policy, Trial(env_id, EPISODES, seed), cells, **options)
    columns = {row.cell: {**asdict(row), "seconds": 0.0} for row in rows}
    return {cell: {name: None if x != x else x for name, x in row.items()} for cell, row in columns.items()}


class GymnasiumCell:
    """The episodes of a cell in Gymnasium's own environment, one after another, with everything written out."""

    def __init__(self, env_id: str, seed: int) -> None:
        self.env = gymnasium.make(env_id)
        self.model, self.data = self.env.unwrapped.model, self.env.unwrapped.data
        self.initial = self.data.qpos.copy(), self.data.qvel.copy()
        self.task = make_task(env_id)
        sizes = {"obs_dim": self.env.observation_space.shape[0], "action_dim": self.model.nu}
        self.draws = EpisodeDraws(seed, EPISODES, num_steps=1000, **sizes)

    def scale(self, mass: float, friction: float) -> None:
        self.model.body_mass[:] *= mass
        self.model.body_inertia[:] *= mass
        self.model.geom_friction[:] *= friction
        mujoco.mj_setConst(self.model, mujoco.MjData(self.model))

    def start(self, episode: int) -> np.ndarray:
        positions, velocities = self.draws.initial_states(self.task, self.initial, None)
        self.env.reset()
        mujoco.mj_resetData(self.model, self.data)
        self.env.unwrapped.set_state(positions[episode], velocities[episode])
        return self.env.unwrapped._get_obs()

    def episodes(self, policy, *, noise: float = 0.0, shake: float = 0.0, delay: int = 0, push: float = 0.0):
        """Returns, lengths and failures under noise on observations, noise on actions, delay and a held push."""
        rows, box, torso = [], self.env.action_space, self.model.body("torso").id
        for episode in range(EPISODES):
            observation, total, length, ended = self.start(episode), 0.0, 0, False
            chosen = [np.zeros(self.model.nu)] * delay
            while not ended:
                seen = observation + noise * self.draws.observation_noise[episode, length]
                chosen.append(np.clip(policy(seen[None])[0], box.low, box.high))
                shaken = chosen[length] + shake * self.draws.action_noise[episode, length]
                self.data.xfrc_applied[torso, 0] = push if length >= self.draws.push_times[episode] else 0.0
                executed = np.clip(shaken, box.low, box.high)
                observation, reward, terminated, truncated, _ = self.env.step(executed)
                total, length, ended = total + float(reward), length + 1, terminated or truncated
            rows.append((total, length, terminated))
        return [np.array(column) for column in zip(*rows, strict=True)]


def assert_row(row: dict, totals: np.ndarray, lengths: np.ndarray, failed: np.ndarray) -> None:
    assert (row["return_mean"], row["return_worst"]) == (totals.mean(), totals.min())
    assert (row["return_std"], row["length_mean"]) == (totals.std(), lengths.mean())
    assert row["failure_rate"] == failed.mean()


@pytest.mark.parametrize(("env_id", "sizes"), [("Hopper-v5", (11, 3)), ("Walker2d-v5", (17, 6))])
def test_grid_row_equals_gymnasiums_with_an_edited_model(env_id, sizes):
    policy = linear_policy(*sizes, scale=0.1)
    places = [(mass, friction) for friction in (0.6, 1.0) for mass in (0.5, 1.0, 1.5)]
    cells = [make_cell(mass=mass, friction=friction) for mass, friction in places]
    rows = evaluate(cells, env_id=env_id, policy=policy, seed=5)
    for cell, (mass, friction) in zip(cells, places, strict=True):
        reference = GymnasiumCell(env_id, seed=5)
        reference.scale(mass, friction)
        assert_row(rows[cell.name], *reference.episodes(policy))


def test_mass_without_inertia_equals_gymnasiums_with_nothing_else_edited():
    cell = make_cell(**{"mass_only of torso": 0.4})
    reference = GymnasiumCell("Hopper-v5", seed=5)
    reference.model.body_mass[1] *= 0.4
    # Another cell before it leaves nothing behind.
    rows = evaluate([make_cell(mass=2.0), cell], seed=5)
    assert_row(rows[cell.name], *reference.episodes(HOPPER))


@pytest.mark.parametrize(
    ("setting", "argument", "value"),
    [
        ("observation_noise", "noise", 0.2),
        ("action_noise", "shake", 0.3),
        ("action_delay", "delay", 3),
        ("push_step", "push", 40.0),
    ],
)
def test_disturbed_row_equals_gymnasiums_with_the_disturbance_written_out(setting, argument, value):
    # A cheetah does not fall, so the push has time to begin.
    env_id, policy = "HalfCheetah-v5", linear_policy(17, 6)
    cell = make_cell(**{setting: value})
    rows = evaluate([make_cell(), cell], env_id=env_id, policy=policy, seed=5)
    assert_row(rows[cell.name], *GymnasiumCell(env_id, seed=5).episodes(policy, **{argument: value}))
    assert rows[cell.name]["return_mean"] != rows[make_cell().name]["return_mean"]


def test_cell_alone_equals_the_cell_inside_the_grid():
    cells = load_suite("quick", Trial("Hopper-v5", 1)).cells
    grid = evaluate(cells)
    for cell in cells[::4]:
        assert evaluate([cell]) == {cell.name: grid[cell.name]}


def test_cells_do_not_depend_on_the_threads():
    cells = load_suite("quick", Trial("Hopper-v5", 1)).cells
    assert evaluate(cells, num_threads=1) == evaluate(cells, num_threads=2)


def test_cell_of_factors_one_equals_the_nominal_cell():
    rows = evaluate(load_suite("quick", Trial("Hopper-v5", 1)).cells)
    nominal, middle = rows["nominal"], rows["mass x friction: mass 1, friction 1"]
    measured = ["return_mean", "return_std", "return_worst", "length_mean", "failure_rate", "forward_distance"]
    assert [nominal[name] for name in measured] == [middle[name] for name in measured]
    assert (nominal["kind"], middle["kind"]) == ("nominal", "physics")


def test_rows_say_where_they_belong():
    label = PolicyLabel("RARL", "a.ckpt", 3)
    rows = evaluate(load_suite("quick", Trial("Hopper-v5", 1)).cells, label=label)
    row = rows["mass x friction: mass 0.7, friction 1.3"]
    assert [row[name] for name in ("method", "policy", "train_seed")] == list(label)
    assert [row[name] for name in ("env_id", "suite", "sweep")] == ["Hopper-v5", "quick", "mass x friction"]
    axes = [row[name] for name in ("axis_1", "value_1", "axis_2", "value_2")]
    assert axes == ["mass", 0.7, "friction", 1.3]
    assert row["episodes"] == EPISODES
    nominal = rows["nominal"]
    assert (nominal["axis_1"], nominal["axis_2"]) == ("", "")
    assert (nominal["value_1"], nominal["value_2"]) == (None, None)


def test_seconds_are_shares_of_the_whole():
    cells = [make_cell(), make_cell(mass=1.0), make_cell(mass=0.8)]
    seconds = {row.cell: row.seconds for row in evaluate_cells(HOPPER, Trial("Hopper-v5", 2), cells)}
    assert all(value > 0.0 for value in seconds.values())
    assert seconds[cells[0].name] == seconds[cells[1].name]


def test_rows_come_while_later_cells_still_run():
    asked = []
    cells = [make_cell(mass=0.5 + 0.001 * index) for index in range(300)]
    rows = evaluate_cells(lambda seen: asked.append(0) or HOPPER(seen), Trial("Hopper-v5", 2), cells, num_threads=1)
    next(rows)
    at_first_row = len(asked)
    assert len(list(rows)) == 299
    assert at_first_row < len(asked)


def test_nothing_to_evaluate_gives_no_row():
    assert evaluate([]) == {}


def test_other_environments_have_their_nominal_cell():
    row = evaluate(
        load_suite("nominal", Trial("toy/Pusher-v0", 1)).cells, env_id="toy/Pusher-v0", policy=linear_policy(23, 7)
    )["nominal"]
    assert (row["length_mean"], row["failure_rate"], row["episodes"]) == (100.0, 0.0, EPISODES)
    assert row["return_mean"] < 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_episodes": 0}, "`num_episodes` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"num_threads": 0}, "`num_threads` must be at least 1, got 0"),
        ({"env_id": "Pendulum-v1"}, "`mass` has no effect on Pendulum-v1; it can have observation_noise"),
        ({"cells": [make_cell(friction=2.0)], "env_id": "Swimmer-v5"}, "`friction` has no effect on Swimmer-v5"),
        ({"env_kwargs": {"speed": 1.0}}, "`env_kwargs` of Hopper-v5 may hold"),
    ],
)
def test_bad_arguments_fail_at_once(arguments, message):
    settings = {"cells": [make_cell(mass=0.5)], "num_episodes": 1, "env_id": "Hopper-v5"} | arguments
    cells, threads = settings.pop("cells"), settings.pop("num_threads", None)
    with pytest.raises(ValueError, match=message):
        evaluate_cells(HOPPER, Trial(**settings), cells, num_threads=threads)
