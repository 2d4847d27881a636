from dataclasses import asdict

import gymnasium
import mujoco
import numpy as np
import pytest

from rrl.envs.tasks import make_task
from rrl.evaluation.conditions import Condition
from rrl.evaluation.draws import EpisodeDraws
from rrl.evaluation.grids import PolicyLabel, evaluate_cells
from rrl.evaluation.suites import Cell, load_suite
from tests.evaluation.row_policies import linear_policy

pytestmark = pytest.mark.mujoco

HOPPER = linear_policy(11, 3)
EPISODES = 3


def make_cell(**values: float) -> Cell:
    return Cell("mine", "row", str(values), Condition.of(values), tuple(values.items()))


def evaluate(cells, *, env_id: str = "Hopper-v5", policy=HOPPER, num_episodes: int = EPISODES, **options) -> dict:
    """Rows by cell without the time that they took, and with what is not a number as None, which equals itself."""
    rows = evaluate_cells(policy, env_id, cells, num_episodes=num_episodes, **options)
    columns = {row.cell: {**asdict(row), "seconds": 0.0} for row in rows}
    return {cell: {name: None if x != x else x for name, x in row.items()} for cell, row in columns.items()}


def gymnasium_episodes(
    env_id: str, policy, *, mass: float, friction: float, seed: int
) -> list[tuple[float, int, bool]]:
    """The same cell in Gymnasium's own environment, one episode after another."""
    env = gymnasium.make(env_id)
    model, data = env.unwrapped.model, env.unwrapped.data
    initial = data.qpos.copy(), data.qvel.copy()
    model.body_mass[:] *= mass
    model.body_inertia[:] *= mass
    model.geom_friction[:] *= friction
    mujoco.mj_setConst(model, mujoco.MjData(model))
    draws = EpisodeDraws(seed, EPISODES, num_steps=1000, obs_dim=env.observation_space.shape[0], action_dim=model.nu)
    episodes = []
    for positions, velocities in zip(*draws.initial_states(make_task(env_id), initial, None), strict=True):
        env.reset()
        mujoco.mj_resetData(model, data)
        env.unwrapped.set_state(positions, velocities)
        observation, total, length, ended = env.unwrapped._get_obs(), 0.0, 0, False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(policy(observation[None])[0])
            total, length, ended = total + float(reward), length + 1, terminated or truncated
        episodes.append((total, length, terminated))
    return episodes


@pytest.mark.parametrize(("env_id", "sizes"), [("Hopper-v5", (11, 3)), ("Walker2d-v5", (17, 6))])
def test_grid_row_equals_gymnasiums_with_an_edited_model(env_id, sizes):
    policy = linear_policy(*sizes, scale=0.1)
    places = [(mass, friction) for friction in (0.6, 1.0) for mass in (0.5, 1.0, 1.5)]
    cells = [make_cell(mass=mass, friction=friction) for mass, friction in places]
    rows = evaluate(cells, env_id=env_id, policy=policy, seed=5)
    for cell, (mass, friction) in zip(cells, places, strict=True):
        expected = gymnasium_episodes(env_id, policy, mass=mass, friction=friction, seed=5)
        totals, lengths, failed = (np.array(column) for column in zip(*expected, strict=True))
        row = rows[cell.name]
        assert (row["return_mean"], row["return_worst"]) == (totals.mean(), totals.min())
        assert (row["return_std"], row["length_mean"]) == (totals.std(), lengths.mean())
        assert row["failure_rate"] == failed.mean()


def test_cell_alone_equals_the_cell_inside_the_grid():
    cells = load_suite("quick", "Hopper-v5").cells
    grid = evaluate(cells)
    for cell in cells[::4]:
        assert evaluate([cell]) == {cell.name: grid[cell.name]}


def test_cells_do_not_depend_on_the_threads():
    cells = load_suite("quick", "Hopper-v5").cells
    assert evaluate(cells, num_threads=1) == evaluate(cells, num_threads=2)


def test_cell_of_factors_one_equals_the_nominal_cell():
    rows = evaluate(load_suite("quick", "Hopper-v5").cells)
    nominal, middle = rows["nominal"], rows["mass x friction: mass 1, friction 1"]
    measured = ["return_mean", "return_std", "return_worst", "length_mean", "failure_rate", "forward_distance"]
    assert [nominal[name] for name in measured] == [middle[name] for name in measured]
    assert (nominal["kind"], middle["kind"]) == ("nominal", "physics")


def test_rows_say_where_they_belong():
    label = PolicyLabel("RARL", "a.ckpt", 3)
    rows = evaluate(load_suite("quick", "Hopper-v5").cells, label=label)
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
    seconds = {row.cell: row.seconds for row in evaluate_cells(HOPPER, "Hopper-v5", cells, num_episodes=2)}
    assert all(value > 0.0 for value in seconds.values())
    assert seconds[cells[0].name] == seconds[cells[1].name]


def test_progress_counts_every_episode_of_every_cell():
    told = []
    cells = [make_cell(), make_cell(mass=1.0), make_cell(mass=0.8)]
    evaluate(cells, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (9, 9)
    assert told == sorted(told)


def test_rows_come_while_later_cells_still_run():
    cells = [make_cell(mass=0.5 + 0.001 * index) for index in range(300)]
    told = []
    rows = evaluate_cells(
        HOPPER, "Hopper-v5", cells, num_episodes=2, num_threads=1, progress=lambda done, total: told.append(done)
    )
    next(rows)
    assert told[-1] < 600


def test_nothing_to_evaluate_gives_no_row():
    assert evaluate([]) == {}


def test_other_environments_have_their_nominal_cell():
    row = evaluate(load_suite("nominal", "Pusher-v5").cells, env_id="Pusher-v5", policy=linear_policy(23, 7))["nominal"]
    assert (row["length_mean"], row["failure_rate"], row["episodes"]) == (100.0, 0.0, EPISODES)
    assert row["return_mean"] < 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_episodes": 0}, "`num_episodes` must be at least 1, got 0"),
        ({"num_threads": 0}, "`num_threads` must be at least 1, got 0"),
        ({"env_id": "Ant-v5"}, "Only native tasks can be perturbed; Ant-v5 can have nominal cells alone"),
        ({"cells": [make_cell(friction=2.0)], "env_id": "Swimmer-v5"}, "`friction` has no effect on Swimmer-v5"),
        ({"env_kwargs": {"speed": 1.0}}, "`env_kwargs` of Hopper-v5 may hold"),
    ],
)
def test_bad_arguments_fail_at_once(arguments, message):
    settings = {"cells": [make_cell(mass=0.5)], "num_episodes": 1, "env_id": "Hopper-v5"} | arguments
    with pytest.raises(ValueError, match=message):
        evaluate_cells(HOPPER, **settings)
