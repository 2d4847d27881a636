"""The evaluation of a policy in the cells of a suite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.envs import make_vec_env
from rrl.envs.make import flat_box, is_native
from rrl.evaluation.conditions import Condition
from rrl.evaluation.episode_queue import Episode, EpisodeQueue, Policy
from rrl.evaluation.episodes import collect_episodes
from rrl.evaluation.results import CellResult
from rrl.evaluation.suites import Cell
from rrl.random_streams import Purpose, derived_seed

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with the episodes that have ended and the episodes in all."""


class PolicyLabel(NamedTuple):
    """Whose result it is: the first columns of a :class:`~rrl.evaluation.results.CellResult`."""

    method: str = "policy"
    policy: str = ""
    train_seed: int = 0


NO_LABEL = PolicyLabel()


def evaluate_cells(
    policy: Policy,
    env_id: str,
    cells: Sequence[Cell],
    *,
    num_episodes: int,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
    label: PolicyLabel = NO_LABEL,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[CellResult]:
    """Run episodes of a policy in each cell.

    Episode ``e`` has the same random numbers in every cell, and what happens in a cell depends on nothing but policy,
    cell, number of the episode and seed: not on the other cells, nor on the number of worlds or threads. Cells of the
    same condition are run once.

    Args:
        policy: From observations ``[N, O]``, float64, to actions ``[N, A]`` in the environment's units, without
            exploration noise; clipped to the action box here. It must treat rows independently and keep no memory.
        env_id: The environment. One that is not native can only have nominal cells.
        cells: What to evaluate, see :func:`~rrl.evaluation.suites.load_suite`.
        num_episodes: Episodes of each cell, at least 1.
        seed: Seed of the episodes, at least 0.
        env_kwargs: Keyword arguments of the environment's constructor.
        label: Whose result it is.
        num_threads: Native threads; ``None`` takes one per available core.
        progress: Told whenever episodes have ended.

    Returns:
        A row for each cell, in the order in which the cells are finished.

    Raises:
        ValueError: At once, if an argument is inadmissible or a condition has no effect on the task by construction.
    """
    for name, count in {"num_episodes": num_episodes, "num_threads": num_threads}.items():
        if count is not None and count < 1:
            raise ValueError(f"`{name}` must be at least 1, got {count}.")
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0, got {seed}.")
    sharing: dict[Condition, list[Cell]] = {}
    for cell in cells:
        sharing.setdefault(cell.condition.effective, []).append(cell)
    if not sharing:
        return iter(())
    if is_native(env_id):
        queue = EpisodeQueue(
            env_id,
            list(sharing),
            num_episodes=num_episodes,
            seed=seed,
            env_kwargs=env_kwargs,
            num_threads=num_threads,
        )
        episodes = queue.run(policy)
    else:
        if list(sharing) != [Condition()]:
            raise ValueError(f"Only native tasks can be perturbed; {env_id} can have nominal cells alone.")
        episodes = _gymnasium_episodes(policy, env_id, num_episodes, seed, env_kwargs)
    rows = _rows(episodes, list(sharing.values()), num_episodes, progress)
    return (replace(row, env_id=env_id, **label._asdict()) for row in rows)


def _gymnasium_episodes(
    policy: Policy, env_id: str, num_episodes: int, seed: int, env_kwargs: Mapping[str, Any] | None
) -> Iterator[Episode]:
    """Run nominal episodes in Gymnasium's own environments, each in one that is seeded for it."""
    began = time.perf_counter()
    envs = make_vec_env(env_id, num_episodes, seed=derived_seed(Purpose.EPISODE_START, seed), env_kwargs=env_kwargs)
    try:
        space = flat_box(envs.single_action_space)
        ran = collect_episodes(envs, lambda seen: np.clip(policy(seen), space.low, space.high), num_episodes)
    finally:
        envs.close()
    seconds = (time.perf_counter() - began) / num_episodes
    for number, (total, length, failed) in enumerate(zip(ran.returns, ran.lengths, ran.failed, strict=True)):
        yield Episode(0, number, float(total), int(length), bool(failed), float("nan"), seconds)


def _rows(
    episodes: Iterator[Episode], cells: Sequence[Sequence[Cell]], num_episodes: int, progress: Progress | None
) -> Iterator[CellResult]:
    """Gather the episodes of each condition; ``cells`` are those of each condition."""
    gathered: list[list[Episode]] = [[] for _ in cells]
    finished, total = 0, num_episodes * sum(len(sharing) for sharing in cells)
    for episode in episodes:
        sharing, ended = cells[episode.condition], gathered[episode.condition]
        ended.append(episode)
        finished += len(sharing)
        if progress is not None:
            progress(finished, total)
        if len(ended) == num_episodes:
            for cell in sharing:
                yield _row(cell, sorted(ended, key=lambda episode: episode.number), len(sharing))


def _row(cell: Cell, episodes: Sequence[Episode], num_sharing: int) -> CellResult:
    totals = np.array([episode.total for episode in episodes])
    first, second = (*cell.axes, ("", float("nan")), ("", float("nan")))[:2]
    return CellResult(
        method="",
        policy="",
        train_seed=0,
        env_id="",
        suite=cell.suite,
        sweep=cell.sweep,
        cell=cell.name,
        kind=cell.kind,
        axis_1=first[0],
        value_1=first[1],
        axis_2=second[0],
        value_2=second[1],
        episodes=len(episodes),
        return_mean=float(totals.mean()),
        return_std=float(totals.std()),
        return_worst=float(totals.min()),
        length_mean=float(np.mean([episode.length for episode in episodes])),
        failure_rate=float(np.mean([episode.failed for episode in episodes])),
        forward_distance=float(np.mean([episode.distance for episode in episodes])),
        seconds=sum(episode.seconds for episode in episodes) / num_sharing,
    )
