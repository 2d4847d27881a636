"""How much of its return a policy keeps as the force of an attack grows: the force profile and its area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.attacks.attackers import FIXED_ATTACKERS, Attacker, MakeAttacker, StepAttack
from rrl.evaluation.attacks.strongest import Battle, held_pushes
from rrl.evaluation.attacks.trained import battlefield
from rrl.evaluation.episodes import BatchPolicy, Trial
from rrl.random_streams import Purpose, derived_seed

NEWTONS = tuple(0.5 * step for step in range(11))
"""Force limits along an axis, from 0 to RARL's own 5."""
IMPULSE_STEPS, IMPULSE_PROBABILITY = 5, 1.0 / 11.0
"""Steps that an impulse lasts, and the probability that one starts in a step: pushes a third of the time, as the step
attacks do."""


class ProfilePoint(NamedTuple):
    """What a policy reaches under one attack at one force."""

    attack: str
    force_limit: float
    """Largest force along an axis, newtons."""
    return_mean: float
    length_mean: float
    """Environment steps of an episode."""
    survived: float
    """Share of the episodes that did not fail."""


def profile_attacks(trial: Trial) -> dict[str, MakeAttacker]:
    """List the attacks of a profile by name: random pushes, long and short ones, and one held in each direction.

    Example:
        >>> list(profile_attacks(Trial("rrl/HopperAdv-v1", 1)))
        ['random_step', 'impulse', 'held +x +z', 'held +x -z', 'held -x +z', 'held -x -z']
    """
    held = {push.name: push.make for push in held_pushes(battlefield(trial).adversary)}
    return {"random_step": FIXED_ATTACKERS["random_step"], "impulse": _impulses, **held}


def force_profile(
    policy: BatchPolicy,
    trial: Trial,
    *,
    forces: Sequence[float] = NEWTONS,
    attacks: Mapping[str, MakeAttacker] | None = None,
) -> list[ProfilePoint]:
    """Run the episodes of a trial under each attack at each force limit, those of `profile_attacks` where None.

    Episodes start alike everywhere, and an attack draws the same pushes at every force, as shares of the limit. So two
    points differ by the force alone, and two policies by themselves.
    """
    attacks = profile_attacks(trial) if attacks is None else attacks
    seed = derived_seed(Purpose.ATTACKED_EPISODE, trial.seed)
    means: dict[tuple[str, float], tuple[float, ...]] = {}
    for name, make in attacks.items():
        for force in forces:
            place = (name if force > 0.0 else "", force)  # without force all attacks are the same
            if place not in means:
                episodes, _ = Battle(policy, trial, force).fight(make, seed)
                found = episodes.returns.mean(), episodes.lengths.mean(), 1.0 - episodes.failed.mean()
                means[place] = tuple(map(float, found))
    return [
        ProfilePoint(name, force, *means[name if force > 0.0 else "", force]) for name in attacks for force in forces
    ]


def profile_area(forces: Sequence[float], returns: NDArray[np.float64] | Sequence[float]) -> float:
    """Average returns over forces by the trapezoidal rule; forces ascend, shape of both ``[K]``, ``K >= 2``.

    Divided by the return without force it is the share of the return that the policy keeps.

    Example:
        >>> profile_area([0.0, 1.0, 4.0], [100.0, 50.0, 0.0])
        37.5
    """
    steps = np.diff(forces)
    if len(steps) == 0 or not (steps > 0.0).all():
        raise ValueError(f"`forces` must hold at least two ascending numbers, got {list(forces)}.")
    return float(np.trapezoid(returns, forces) / steps.sum())


def _impulses(shape: tuple[int, int], seed: int) -> Attacker:
    return StepAttack(shape, seed, random_magnitude=True, steps=IMPULSE_STEPS, probability=IMPULSE_PROBABILITY)
