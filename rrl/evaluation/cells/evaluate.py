"""The evaluation of a policy in the cells of a suite."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from rrl.checks import require_at_least
from rrl.envs import make_vec_env
from rrl.envs.make import is_native
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.episode_queue import Episode, EpisodeQueue
from rrl.evaluation.cells.suites import Cell
from rrl.evaluation.episodes import BatchPolicy, EpisodeReturns, Trial, collect_episodes
from rrl.evaluation.rows import NO_LABEL, CellResult, PolicyLabel
from rrl.random_streams import Purpose, derived_seed


def evaluate_cells(
    policy: BatchPolicy,
    trial: Trial,
    cells: Sequence[Cell],
    *,
    label: PolicyLabel = NO_LABEL,
    num_threads: int | None = None,
) -> Iterator[CellResult]:
    """Run episodes of a policy in each cell, and yield the rows in the order in which the cells are finished.

    Episode ``e`` has the same random numbers in every cell, and what happens in a cell depends on nothing but policy,
    cell, number of the episode and seed: not on the other cells, nor on the number of worlds or native threads, one per
    available core where that is None. Cells of the same condition are run once.

    A condition that has no effect on the task by construction is a ValueError at once, as is one that is not nominal in
    an environment that is not native.
    """
    require_at_least(1, num_threads=num_threads)
    sharing = by_condition(cells)
    if not sharing:
        return iter(())
    if is_native(trial.env_id):
        episodes = EpisodeQueue(trial, list(sharing), num_threads=num_threads).run(policy)
        found = _gather(episodes, list(sharing.values()), trial.num_episodes)
    elif list(sharing) == [Condition()]:
        found = _gymnasium_cells(policy, trial, cells)
    else:
        raise ValueError(f"Only native tasks can be perturbed; {trial.env_id} can have nominal cells alone.")
    return (CellResult.of(label, trial.env_id, cell.place, ran, seconds=seconds) for cell, ran, seconds in found)


def by_condition(cells: Sequence[Cell]) -> dict[Condition, list[Cell]]:
    """Gather the cells that share a condition, apart from settings that change nothing."""
    sharing: dict[Condition, list[Cell]] = {}
    for cell in cells:
        sharing.setdefault(cell.condition.effective, []).append(cell)
    return sharing


def _gymnasium_cells(
    policy: BatchPolicy, trial: Trial, cells: Sequence[Cell]
) -> Iterator[tuple[Cell, EpisodeReturns, float]]:
    """Run nominal episodes in Gymnasium's own environments, each in one that is seeded for it."""
    began = time.perf_counter()
    seed = derived_seed(Purpose.EPISODE_START, trial.seed)
    envs = make_vec_env(trial.env_id, trial.num_episodes, seed=seed, env_kwargs=trial.env_kwargs)
    try:
        episodes = collect_episodes(envs, policy, trial.num_episodes)
    finally:
        envs.close()
    seconds = (time.perf_counter() - began) / len(cells)
    yield from ((cell, episodes, seconds) for cell in cells)


def _gather(
    episodes: Iterator[Episode], cells: Sequence[Sequence[Cell]], num_episodes: int
) -> Iterator[tuple[Cell, EpisodeReturns, float]]:
    """Yield the cells of each condition with their episodes and seconds, as soon as these are complete."""
    gathered: list[list[Episode]] = [[] for _ in cells]
    for episode in episodes:
        sharing, ended = cells[episode.condition], gathered[episode.condition]
        ended.append(episode)
        if len(ended) == num_episodes:
            ended.sort(key=lambda episode: episode.number)
            _, _, returns, lengths, failed, distances, seconds = map(np.array, zip(*ended, strict=True))
            found = EpisodeReturns(returns, lengths, failed, distances)
            yield from ((cell, found, float(seconds.sum()) / len(sharing)) for cell in sharing)
