"""The evaluation of a policy in the cells of a suite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

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

Progress = Callable[[int, int], None]
"""Called with the episodes that have ended and the episodes in all."""


def evaluate_cells(
    policy: BatchPolicy,
    trial: Trial,
    cells: Sequence[Cell],
    *,
    label: PolicyLabel = NO_LABEL,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[CellResult]:
    """Run episodes of a policy in each cell.

    Episode ``e`` has the same random numbers in every cell, and what happens in a cell depends on nothing but policy,
    cell, number of the episode and seed: not on the other cells, nor on the number of worlds or threads. Cells of the
    same condition are run once.

    Args:
        policy: The policy.
        trial: The episodes of each cell. An environment that is not native can only have nominal cells.
        cells: A condition without effect on the task by construction is a ValueError at once.
        label: Whose result it is.
        num_threads: Native threads, at least 1; ``None`` takes one per available core.
        progress: Told whenever episodes have ended.

    Returns:
        A row for each cell, in the order in which the cells are finished.
    """
    require_at_least(1, num_threads=num_threads)
    sharing = by_condition(cells)
    if not sharing:
        return iter(())
    if is_native(trial.env_id):
        episodes = EpisodeQueue(trial, list(sharing), num_threads=num_threads).run(policy)
    elif list(sharing) == [Condition()]:
        episodes = _gymnasium_episodes(policy, trial)
    else:
        raise ValueError(f"Only native tasks can be perturbed; {trial.env_id} can have nominal cells alone.")
    found = _gather(episodes, list(sharing.values()), trial.num_episodes, progress)
    return (CellResult.of(label, trial.env_id, cell.place, ran, seconds=seconds) for cell, ran, seconds in found)


def by_condition(cells: Sequence[Cell]) -> dict[Condition, list[Cell]]:
    """Gather the cells that share a condition, apart from settings that change nothing."""
    sharing: dict[Condition, list[Cell]] = {}
    for cell in cells:
        sharing.setdefault(cell.condition.effective, []).append(cell)
    return sharing


def _gymnasium_episodes(policy: BatchPolicy, trial: Trial) -> Iterator[Episode]:
    """Run nominal episodes in Gymnasium's own environments, each in one that is seeded for it."""
    began = time.perf_counter()
    seed = derived_seed(Purpose.EPISODE_START, trial.seed)
    envs = make_vec_env(trial.env_id, trial.num_episodes, seed=seed, env_kwargs=trial.env_kwargs)
    try:
        ran = collect_episodes(envs, policy, trial.num_episodes)
    finally:
        envs.close()
    seconds = (time.perf_counter() - began) / trial.num_episodes
    for number, (total, length, failed) in enumerate(zip(ran.returns, ran.lengths, ran.failed, strict=True)):
        yield Episode(0, number, float(total), int(length), bool(failed), float("nan"), seconds)


def _gather(
    episodes: Iterator[Episode], cells: Sequence[Sequence[Cell]], num_episodes: int, progress: Progress | None
) -> Iterator[tuple[Cell, EpisodeReturns, float]]:
    """Yield the cells of each condition with their episodes and seconds, as soon as these are complete."""
    gathered: list[list[Episode]] = [[] for _ in cells]
    finished, total = 0, num_episodes * sum(len(sharing) for sharing in cells)
    for episode in episodes:
        sharing, ended = cells[episode.condition], gathered[episode.condition]
        ended.append(episode)
        finished += len(sharing)
        if progress is not None:
            progress(finished, total)
        if len(ended) == num_episodes:
            ended.sort(key=lambda episode: episode.number)
            seconds = sum(episode.seconds for episode in ended) / len(sharing)
            returns = EpisodeReturns(
                returns=np.array([episode.total for episode in ended]),
                lengths=np.array([episode.length for episode in ended]),
                failed=np.array([episode.failed for episode in ended]),
                forward_distances=np.array([episode.distance for episode in ended]),
            )
            yield from ((cell, returns, seconds) for cell in sharing)
