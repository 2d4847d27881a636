"""The evaluation of a policy in the cells of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rrl.checks import require_at_least
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.episode_queue import Episode, EpisodeQueue
from rrl.evaluation.cells.suites import Cell
from rrl.evaluation.episodes import BatchPolicy, EpisodeReturns, Trial
from rrl.evaluation.rows import NO_LABEL, CellResult, PolicyLabel


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

    A condition that the environment cannot have is a ValueError at once.
    """
    require_at_least(1, num_threads=num_threads)
    sharing = by_condition(cells)
    if not sharing:
        return iter(())
    episodes = EpisodeQueue(trial, list(sharing), num_threads=num_threads).run(policy)
    found = _gather(episodes, list(sharing.values()), trial.num_episodes)
    return (CellResult.of(label, trial.env_id, cell.place, ran, seconds=seconds) for cell, ran, seconds in found)


def by_condition(cells: Sequence[Cell]) -> dict[Condition, list[Cell]]:
    """Gather the cells that share a condition, apart from settings that change nothing."""
    sharing: dict[Condition, list[Cell]] = {}
    for cell in cells:
        sharing.setdefault(cell.condition.effective, []).append(cell)
    return sharing


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
            found = EpisodeReturns(returns, lengths, failed, None if np.isnan(distances).any() else distances)
            yield from ((cell, found, float(seconds.sum()) / len(sharing)) for cell in sharing)
