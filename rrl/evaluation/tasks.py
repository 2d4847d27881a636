"""The pieces into which an evaluation is cut: each can run in any process, in any order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rrl.evaluation.attack_cells import AttackCell, AttackOptions, AttackResult, attack_cells, evaluate_attack
from rrl.evaluation.conditions import Condition
from rrl.evaluation.fresh_adversaries import adversarial_task
from rrl.evaluation.grids import evaluate_cells
from rrl.evaluation.policies import LoadedPolicy, PolicySource
from rrl.evaluation.result_store import CellKey
from rrl.evaluation.results import CellResult
from rrl.evaluation.settings import EvaluationSettings
from rrl.evaluation.strongest_attack import held_pushes
from rrl.evaluation.suites import Cell

Finding = CellResult | AttackResult
CONDITIONS_PER_TASK = 32
"""Enough episodes to keep many worlds busy, and few enough to share out a suite."""

STEPS_PER_EPISODE = 300
"""Steps of training an adversary that take as long as an episode, for the time that is left."""


@dataclass(frozen=True)
class EvaluationTask:
    """One policy in some cells, or under one attack."""

    source: PolicySource
    env_id: str
    num_episodes: int
    seed: int
    env_kwargs: Mapping[str, Any]
    cells: tuple[Cell, ...] = ()
    attack: AttackCell | None = None
    attack_options: AttackOptions | None = None

    @property
    def costs(self) -> dict[str, int]:
        """Names of the cells that it will give, and what each takes, in whole episodes."""
        costs = {cell.name: self.num_episodes for cell in self.cells}
        if self.attack is not None and self.attack_options is not None:
            costs[self.attack.name] = self.num_episodes
            if self.attack.attacker == "strongest":
                training = round(self.attack_options.steps / STEPS_PER_EPISODE)
                held = len(held_pushes(adversarial_task(self.env_id))) * self.num_episodes
                costs[self.attack.name] += held + self.attack_options.restarts * (self.num_episodes + training)
        return costs

    def run(self, policy: LoadedPolicy, num_threads: int | None = None) -> Iterator[Finding]:
        """Do it.

        Args:
            policy: What :func:`~rrl.evaluation.policies.load_source` made of the source.
            num_threads: Native threads; ``None`` takes one per available core.

        Yields:
            Rows of cells, or the result of the attack.
        """
        common: dict[str, Any] = {
            "num_episodes": self.num_episodes,
            "seed": self.seed,
            "env_kwargs": self.env_kwargs,
            "label": policy.label,
        }
        if self.cells:
            yield from evaluate_cells(policy.act, self.env_id, self.cells, num_threads=num_threads, **common)
        if self.attack is not None and self.attack_options is not None:
            yield evaluate_attack(
                policy.act, self.env_id, self.attack, self.attack_options, own=policy.adversary, **common
            )


def plan(
    settings: EvaluationSettings,
    policies: Sequence[tuple[PolicySource, LoadedPolicy]],
    cells: Sequence[Cell],
    done: set[CellKey],
) -> list[EvaluationTask]:
    """Cut an evaluation into tasks, without what has been done.

    Args:
        settings: The evaluation.
        policies: All policies with their sources.
        cells: The cells of the suite.
        done: Keys of the rows that are there.

    Returns:
        Tasks, policy by policy, its cells first.
    """
    return [task for source, policy in policies for task in _plan_policy(settings, source, policy, cells, done)]


def _plan_policy(
    settings: EvaluationSettings, source: PolicySource, policy: LoadedPolicy, cells: Sequence[Cell], done: set[CellKey]
) -> Iterator[EvaluationTask]:
    common = (source, settings.env_id, settings.episodes, settings.seed, settings.env_kwargs)
    open_cells = [cell for cell in cells if CellKey(*policy.label, cell.name) not in done]
    # Cells of the same condition are run once if they are in one task.
    sharing: dict[Condition, list[Cell]] = {}
    for cell in open_cells:
        sharing.setdefault(cell.condition.effective, []).append(cell)
    groups = list(sharing.values())
    for first in range(0, len(groups), CONDITIONS_PER_TASK):
        chunk = groups[first : first + CONDITIONS_PER_TASK]
        yield EvaluationTask(*common, cells=tuple(cell for group in chunk for cell in group))
    if settings.attacks is None:
        return
    own = policy.adversary is not None and policy.adversary_task == adversarial_task(settings.env_id)
    for attack in attack_cells(settings.attacks, own=own):
        if CellKey(*policy.label, attack.name) not in done:
            yield EvaluationTask(*common, attack=attack, attack_options=settings.attacks)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
