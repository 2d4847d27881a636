"""Find the strongest attack on a finished policy: pushes that are held, and adversaries trained from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.envs import ADVERSARIAL_TASKS, make_vec_env
from rrl.envs.make import flat_box
from rrl.evaluation.attacks import AttackedWorlds, Attacker, MakeAttacker
from rrl.evaluation.episode_queue import Policy
from rrl.evaluation.episodes import EpisodeReturns, collect_episodes
from rrl.evaluation.fresh_adversaries import train_adversary
from rrl.random_streams import Purpose, derived_seed

Array = NDArray[np.float64]


class MeasuredAttack:
    """An attacker that remembers how hard it has pushed.

    Args:
        attacker: Chooses the actions.
    """

    def __init__(self, attacker: Attacker) -> None:
        self._attacker = attacker
        self._squares, self._count = 0.0, 0

    def __call__(self, observations: Array, starts: NDArray[np.bool_]) -> Array:
        """Ask the attacker, see :class:`~rrl.evaluation.attacks.Attacker`."""
        actions = self._attacker(observations, starts)
        self._squares += float(np.square(np.clip(actions, -1.0, 1.0)).sum())
        self._count += actions.size
        return actions

    @property
    def rms(self) -> float:
        """Root mean square of the executed actions so far, as a share of the force limit."""
        return float(np.sqrt(self._squares / max(self._count, 1)))


class Battle(NamedTuple):
    """A policy in a task, ready to be attacked."""

    policy: Policy
    """From observations ``[N, O]`` to actions ``[N, A]``."""
    task: str
    """A task with an adversary."""
    force_limit: float
    """Largest force along an axis, newtons."""
    num_episodes: int
    """Episodes of a fight, each in a world of its own."""
    env_kwargs: Mapping[str, Any] | None
    """Keywords of the environment."""

    def fight(self, make: MakeAttacker, seed: int) -> tuple[EpisodeReturns, float]:
        """Run the episodes.

        Args:
            make: Makes the attacker.
            seed: Of worlds and attacker.

        Returns:
            The episodes, and the root mean square of the force along an axis, newtons.
        """
        envs: Any = make_vec_env(
            self.task, self.num_episodes, seed=seed, env_kwargs=self.env_kwargs, force_limit=self.force_limit
        )
        try:
            space = flat_box(envs.single_action_space)
            attacker = MeasuredAttack(make((envs.num_envs, envs.adversary_dim), seed))
            worlds = AttackedWorlds(envs, attacker)
            episodes = collect_episodes(
                worlds, lambda seen: np.clip(self.policy(seen), space.low, space.high), self.num_episodes
            )
        finally:
            envs.close()
        return episodes, attacker.rms * self.force_limit


class Candidate(NamedTuple):
    """One attack of several."""

    name: str
    """Unique among them."""
    make: MakeAttacker
    """Makes the attacker."""
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


def held_pushes(task: str) -> list[Candidate]:
    """List the pushes at the force limit that never end: one for each combination of directions.

    Args:
        task: A task with an adversary; all its bodies are pushed in the same direction.

    Returns:
        ``2 ** axes`` attacks.

    Example:
        >>> [push.name for push in held_pushes("rrl/HopperHeelAdv-v1")]
        ['held +x +z', 'held +x -z', 'held -x +z', 'held -x -z']
    """
    axes, num_bodies = ADVERSARIAL_TASKS[task].axes, len(ADVERSARIAL_TASKS[task].bodies)
    pushes = []
    for signs in itertools.product((1.0, -1.0), repeat=len(axes)):
        name = " ".join(f"{'+' if sign > 0 else '-'}{axis}" for sign, axis in zip(signs, axes, strict=True))
        direction = signs * num_bodies
        pushes.append(Candidate(f"held {name}", _held(direction), direction=direction))
    return pushes


def find_strongest(battle: Battle, *, restarts: int, steps: int, seed: int) -> StrongestAttack:
    """Hold pushes, train adversaries, and choose the strongest of all.

    A new adversary needs long to find out that a force helps only if it is held: from noise around no force it left a
    return of 3030 to a Hopper that 5 N, held, brought from 3280 to 1045. So only the first restart begins without a
    force, the others at the strongest of the held pushes, and these count themselves: training may not improve on them.

    Args:
        battle: Runs the episodes.
        restarts: Adversaries to train.
        steps: Environment steps of each training.
        seed: Seed of the evaluation.

    Returns:
        The strongest.
    """

    def mean_return(candidate: Candidate) -> float:
        return float(battle.fight(candidate.make, derived_seed(Purpose.ATTACK_SELECTION, seed))[0].returns.mean())

    candidates = held_pushes(battle.task)
    returns = {push.name: mean_return(push) for push in candidates}
    strongest_first = sorted(candidates, key=lambda push: returns[push.name])
    starts: list[Sequence[float] | None] = [None, *(push.direction for push in strongest_first)]
    for restart in range(restarts):
        adversary = train_adversary(
            battle.policy,
            battle.task,
            force_limit=battle.force_limit,
            num_steps=steps,
            seed=derived_seed(Purpose.ATTACK_TRAINING, seed, restart),
            env_kwargs=battle.env_kwargs,
            start=starts[restart % len(starts)],
        )
        trained = Candidate(f"trained {restart + 1}", adversary.attacker, adversary.num_steps)
        returns[trained.name] = mean_return(trained)
        candidates.append(trained)
    strongest = min(candidates, key=lambda candidate: returns[candidate.name])
    return StrongestAttack(strongest, returns, sum(candidate.num_steps for candidate in candidates))


def _held(direction: Sequence[float]) -> MakeAttacker:
    def make(shape: tuple[int, int], seed: int) -> Attacker:
        actions = np.broadcast_to(direction, shape)
        return lambda observations, starts: actions

    return make
