"""A policy from anywhere in the hands of attackers of several strengths: the attack rows of an evaluation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from rrl.evaluation.attacks import FIXED_ATTACKERS, MakeAttacker
from rrl.evaluation.episode_queue import Policy
from rrl.evaluation.episodes import EpisodeReturns
from rrl.evaluation.fresh_adversaries import adversarial_task
from rrl.evaluation.grids import NO_LABEL, PolicyLabel
from rrl.evaluation.results import CellResult
from rrl.evaluation.strongest_attack import Battle, StrongestAttack, find_strongest
from rrl.random_streams import Purpose, derived_seed

SUITE = "attacks"
AttackName = Literal["zero", "random", "step", "random_step", "own", "strongest"]


@dataclass(frozen=True)
class AttackOptions:
    """How hard a policy is attacked."""

    force_limits: Sequence[float] = (1.25, 5.0, 10.0)
    """Largest forces along an axis, newtons; RARL's own is 5, a quarter of it in its published script."""
    restarts: int = 3
    """Adversaries that are trained for each force limit. With 0 there is no attack of the kind ``strongest``."""
    steps: int = 100_000
    """Environment steps of each training."""

    def __post_init__(self) -> None:
        """Refuse what is no attack."""
        if not self.force_limits or not all(0.0 < limit < np.inf for limit in self.force_limits):
            raise ValueError(f"`force_limits` must hold positive newtons, got {list(self.force_limits)}.")
        if len(set(self.force_limits)) < len(self.force_limits):
            raise ValueError(f"`force_limits` must differ, got {list(self.force_limits)}.")
        if self.restarts < 0:
            raise ValueError(f"`restarts` must be at least 0, got {self.restarts}.")
        if self.steps < 1:
            raise ValueError(f"`steps` must be at least 1, got {self.steps}.")

    @property
    def budget(self) -> str:
        """What the strongest attack is chosen from, as a sentence."""
        trained = f"{self.restarts} {'adversary' if self.restarts == 1 else 'adversaries'}"
        return (
            "The strongest found is the worst, for the finished policy, of pushes held in each direction and of "
            f"{trained} trained against it for {self.steps:,} environment steps each, chosen in "
            "other episodes than those reported."
        )


class AttackCell(NamedTuple):
    """One attacker at one strength."""

    attacker: AttackName
    force_limit: float
    """Newtons; 0 for the attacker that does nothing."""

    @property
    def name(self) -> str:
        """Unique among the attacks."""
        return self.attacker if self.attacker == "zero" else f"{self.attacker} {self.force_limit:g} N"


@dataclass(frozen=True)
class AttackResult:
    """What an attack did, and what it cost."""

    row: CellResult
    force_rms: float
    """Root mean square of the executed force along an axis, newtons."""
    training_steps: int
    """Environment steps in which adversaries were trained for it, over all restarts."""
    strongest: str
    """Name of the attack that was chosen; empty where there was no choice."""
    candidates: Mapping[str, float]
    """What each attack left of the return, by name, in the episodes in which the strongest was chosen."""


def attack_cells(options: AttackOptions, *, own: bool) -> list[AttackCell]:
    """List the attacks on a policy.

    Args:
        options: How hard.
        own: Whether it has an adversary of its own.

    Returns:
        No attack at all first, then the attackers in turn, each with rising force limits.
    """
    names: list[AttackName] = ["random", "step", "random_step"]
    names += ["own"] if own else []
    names += ["strongest"] if options.restarts > 0 else []
    limits = sorted(options.force_limits)
    return [AttackCell("zero", 0.0), *(AttackCell(name, limit) for name in names for limit in limits)]


def evaluate_attack(
    policy: Policy,
    env_id: str,
    cell: AttackCell,
    options: AttackOptions,
    *,
    num_episodes: int,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
    label: PolicyLabel = NO_LABEL,
    own: MakeAttacker | None = None,
) -> AttackResult:
    """Run episodes of a policy under one attack; search for the strongest one first where it is a fresh one.

    The episodes start alike under every attack, and policies with the same seed meet the same pushes.

    Args:
        policy: From observations ``[N, O]`` to actions ``[N, A]``, see :func:`~rrl.evaluation.grids.evaluate_cells`.
        env_id: A task with an adversary, or one that :func:`adversarial_task` finds one for.
        cell: The attack.
        options: Budget of the search.
        num_episodes: Episodes to report, and for each candidate of a search as many to choose by.
        seed: Of everything that is drawn.
        env_kwargs: Keywords of the environment.
        label: Whose result it is.
        own: The adversary that the policy was trained with; only for the attacker ``own``.

    Returns:
        The row and the budget.

    Raises:
        ValueError: If the policy's own adversary is asked for and there is none.
    """
    began = time.perf_counter()
    battle = Battle(policy, adversarial_task(env_id), cell.force_limit, num_episodes, env_kwargs)
    strongest: StrongestAttack | None = None
    if cell.attacker == "strongest":
        strongest = find_strongest(battle, restarts=options.restarts, steps=options.steps, seed=seed)
        make: MakeAttacker | None = strongest.candidate.make
    else:
        make = own if cell.attacker == "own" else FIXED_ATTACKERS[cell.attacker]
    if make is None:
        raise ValueError(f"{label.policy or 'the policy'} has no adversary of its own.")
    episodes, force_rms = battle.fight(make, derived_seed(Purpose.ATTACKED_EPISODE, seed))
    row = replace(_row(cell, env_id, episodes, time.perf_counter() - began), **label._asdict())
    if strongest is None:
        return AttackResult(row, force_rms, 0, "", {})
    return AttackResult(row, force_rms, strongest.num_steps, strongest.candidate.name, strongest.returns)


def _row(cell: AttackCell, env_id: str, episodes: EpisodeReturns, seconds: float) -> CellResult:
    distances = episodes.forward_distances
    return CellResult(
        method="",
        policy="",
        train_seed=0,
        env_id=env_id,
        suite=SUITE,
        sweep=cell.attacker,
        cell=cell.name,
        kind="attack",
        axis_1="force limit",
        value_1=cell.force_limit,
        axis_2="",
        value_2=float("nan"),
        episodes=len(episodes.returns),
        return_mean=float(episodes.returns.mean()),
        return_std=float(episodes.returns.std()),
        return_worst=float(episodes.returns.min()),
        length_mean=float(episodes.lengths.mean()),
        failure_rate=float(episodes.failed.mean()),
        forward_distance=float("nan") if distances is None else float(distances.mean()),
        seconds=seconds,
    )
