"""Find the strongest attack on a finished policy: pushes that are held, and adversaries trained from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from rrl.envs import AdversaryBodies
from rrl.evaluation.attacks.attackers import AttackedWorlds, Attacker, MakeAttacker
from rrl.evaluation.attacks.trained import Battlefield, battlefield, train_adversary
from rrl.evaluation.episodes import BatchPolicy, EpisodeReturns, Trial, collect_episodes
from rrl.random_streams import Purpose, derived_seed


class Battle(NamedTuple):
    """A policy in a task, ready to be attacked."""

    policy: BatchPolicy
    trial: Trial
    """Episodes of a fight, each in a world of its own."""
    force_limit: float
    """Largest force along an axis, newtons."""

    @property
    def field(self) -> Battlefield:
        """Where it is fought."""
        return battlefield(self.trial)

    def fight(self, make: MakeAttacker, seed: int) -> tuple[EpisodeReturns, float]:
        """Run the episodes, and return them with the root mean square of the executed force along an axis, newtons."""
        num_episodes, field = self.trial.num_episodes, self.field
        limit = {"adversary": field.adversary, "force_limit": self.force_limit}
        envs = replace(self.trial, env_id=field.env_id).make_envs(num_episodes, seed, **limit)
        try:
            worlds = AttackedWorlds(envs, make, seed)
            return collect_episodes(worlds, self.policy, num_episodes), worlds.rms * self.force_limit
        finally:
            envs.close()


class Candidate(NamedTuple):
    """One attack of several, which its name tells apart."""

    name: str
    make: MakeAttacker
    num_steps: int = 0
    """Environment steps in which it was trained."""
    direction: Sequence[float] = ()
    """The adversary action that it holds; nothing for a trained one."""


@dataclass(frozen=True)
class StrongestAttack:
    """The strongest of several attacks, and what the search took."""

    candidate: Candidate
    """The one that leaves the lowest mean return."""
    returns: Mapping[str, float]
    """What each left, by name, in the episodes in which the strongest was chosen."""
    num_steps: int
    """Environment steps in which adversaries were trained."""


def held_pushes(adversary: AdversaryBodies) -> list[Candidate]:
    """List the pushes at the force limit that never end: one for each combination of directions, alike for all bodies.

    Example:
        >>> [push.name for push in held_pushes(AdversaryBodies(bodies=["foot"]))]
        ['held +x +z', 'held +x -z', 'held -x +z', 'held -x -z']
    """
    axes, num_bodies = adversary.axes, len(adversary.bodies)
    pushes = []
    for signs in itertools.product((1.0, -1.0), repeat=len(axes)):
        name = " ".join(f"{'+' if sign > 0 else '-'}{axis}" for sign, axis in zip(signs, axes, strict=True))
        direction = signs * num_bodies
        pushes.append(Candidate(f"held {name}", partial(_held, direction), direction=direction))
    return pushes


def find_strongest(battle: Battle, *, restarts: int, steps: int) -> StrongestAttack:
    """Hold pushes, train adversaries for some steps each, and choose the strongest of all.

    A new adversary needs long to find out that a force helps only if it is held: from noise around no force it left a
    return of 3030 to a Hopper that 5 N, held, brought from 3280 to 1045. So only the first restart begins without a
    force, the others at the strongest of the held pushes, and these count themselves: training may not improve on them.
    """
    seed = battle.trial.seed

    def mean_return(candidate: Candidate) -> float:
        return float(battle.fight(candidate.make, derived_seed(Purpose.ATTACK_SELECTION, seed))[0].returns.mean())

    candidates = held_pushes(battle.field.adversary)
    returns = {push.name: mean_return(push) for push in candidates}
    strongest_first = sorted(candidates, key=lambda push: returns[push.name])
    starts: list[Sequence[float] | None] = [None, *(push.direction for push in strongest_first)]
    for restart in range(restarts):
        adversary = train_adversary(
            battle.policy,
            replace(battle.trial, seed=derived_seed(Purpose.ATTACK_TRAINING, seed, restart)),
            force_limit=battle.force_limit,
            num_steps=steps,
            start=starts[restart % len(starts)],
        )
        trained = Candidate(f"trained {restart + 1}", adversary.attacker, adversary.num_steps)
        returns[trained.name] = mean_return(trained)
        candidates.append(trained)
    strongest = min(candidates, key=lambda candidate: returns[candidate.name])
    return StrongestAttack(strongest, returns, sum(candidate.num_steps for candidate in candidates))


def _held(direction: Sequence[float], shape: tuple[int, int], seed: int) -> Attacker:
    return lambda observations, starts: np.broadcast_to(direction, shape)
