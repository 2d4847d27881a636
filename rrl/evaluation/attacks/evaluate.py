"""A policy from anywhere in the hands of attackers of several strengths: the attack rows of an evaluation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from rrl.checks import require_at_least
from rrl.evaluation.attacks.attackers import FIXED_ATTACKERS, MakeAttacker
from rrl.evaluation.attacks.strongest import Battle, find_strongest
from rrl.evaluation.episodes import BatchPolicy, Trial
from rrl.evaluation.rows import NO_LABEL, CellResult, Place, PolicyLabel
from rrl.random_streams import Purpose, derived_seed

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
        if not self.force_limits or not all(0.0 < limit < np.inf for limit in self.force_limits):
            raise ValueError(f"`force_limits` must hold positive newtons, got {list(self.force_limits)}.")
        if len(set(self.force_limits)) < len(self.force_limits):
            raise ValueError(f"`force_limits` must differ, got {list(self.force_limits)}.")
        require_at_least(0, restarts=self.restarts)
        require_at_least(1, steps=self.steps)

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

    @property
    def place(self) -> Place:
        """Where it is: attacks are a suite of their own, and their strength is an axis."""
        return Place("attacks", self.attacker, self.name, "attack", "force limit", self.force_limit)


@dataclass(frozen=True)
class AttackResult:
    """What an attack did, and what it cost."""

    row: CellResult
    force_rms: float
    """Root mean square of the executed force along an axis, newtons."""
    training_steps: int = 0
    """Environment steps in which adversaries were trained for it, over all restarts."""
    strongest: str = ""
    """Name of the attack that was chosen; empty where there was no choice."""
    candidates: Mapping[str, float] = field(default_factory=dict)
    """What each left, see :class:`~rrl.evaluation.attacks.strongest.StrongestAttack`."""

    @property
    def record(self) -> dict[str, object]:
        """The result by the columns of the file of attacks."""
        return {
            **self.row.label._asdict(),
            "attack": self.row.cell,
            "return_mean": self.row.return_mean,
            "force_rms_newtons": self.force_rms,
            "training_steps": self.training_steps,
            "strongest": self.strongest,
            "candidates": "; ".join(f"{name}: {value:.6g}" for name, value in self.candidates.items()),
        }


def attack_cells(options: AttackOptions, *, own: bool) -> list[AttackCell]:
    """List the attacks on a policy: none at all first, then the attackers in turn, each with rising force limits."""
    names: list[AttackName] = ["random", "step", "random_step"]
    names += ["own"] if own else []
    names += ["strongest"] if options.restarts > 0 else []
    limits = sorted(options.force_limits)
    return [AttackCell("zero", 0.0), *(AttackCell(name, limit) for name in names for limit in limits)]


def evaluate_attack(
    policy: BatchPolicy,
    trial: Trial,
    cell: AttackCell,
    options: AttackOptions,
    *,
    label: PolicyLabel = NO_LABEL,
    own: MakeAttacker | None = None,
) -> AttackResult:
    """Run episodes of a policy under one attack; search for the strongest one first where it is a fresh one.

    The episodes start alike under every attack, and policies with the same seed meet the same pushes. ``own`` is the
    adversary that the policy was trained with; a cell that asks for it where it is None is a ValueError.
    """
    began = time.perf_counter()
    battle = Battle(policy, trial, cell.force_limit)
    search: dict[str, Any] = {}
    if cell.attacker == "strongest":
        found = find_strongest(battle, restarts=options.restarts, steps=options.steps)
        search = {"training_steps": found.num_steps, "strongest": found.candidate.name, "candidates": found.returns}
        make: MakeAttacker | None = found.candidate.make
    else:
        make = own if cell.attacker == "own" else FIXED_ATTACKERS[cell.attacker]
    if make is None:
        raise ValueError(f"{label.policy or 'the policy'} has no adversary of its own.")
    episodes, force_rms = battle.fight(make, derived_seed(Purpose.ATTACKED_EPISODE, trial.seed))
    row = CellResult.of(label, trial.env_id, cell.place, episodes, seconds=time.perf_counter() - began)
    return AttackResult(row, force_rms, **search)
