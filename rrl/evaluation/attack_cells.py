"""A policy from anywhere in the hands of attackers of several strengths: the attack rows of an evaluation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.envs import make_vec_env
from rrl.envs.make import flat_box
from rrl.evaluation.attacks import FIXED_ATTACKERS, AttackedWorlds, Attacker, MakeAttacker
from rrl.evaluation.episode_queue import Policy
from rrl.evaluation.episodes import EpisodeReturns, collect_episodes
from rrl.evaluation.fresh_adversaries import FreshAdversary, adversarial_task, train_adversary
from rrl.evaluation.grids import NO_LABEL, PolicyLabel
from rrl.evaluation.results import CellResult

SUITE = "attacks"
AttackName = Literal["zero", "random", "step", "random_step", "own", "fresh"]
SELECTION_SEED, REPORT_SEED, TRAINING_SEED = 4_000_000, 5_000_000, 6_000_000
"""Added to the seed. The strongest restart is chosen in other episodes than those that are reported: the lowest of
several averages owes something to luck."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AttackOptions:
    """How hard a policy is attacked."""

    force_limits: Sequence[float] = (1.25, 5.0, 10.0)
    """Largest forces along an axis, newtons; RARL's own is 5, a quarter of it in its published script."""
    restarts: int = 3
    """Adversaries that are trained for each force limit, of which the strongest counts. 0 trains none."""
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
        """The budget of the fresh adversaries, as a sentence."""
        return (
            f"Each fresh adversary is the strongest of {self.restarts} that were trained for {self.steps:,} "
            "environment steps against the finished policy, chosen in other episodes than those reported."
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
    restart_returns: tuple[float, ...]
    """What each restart left of the return, in the episodes in which the strongest was chosen."""


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
    names += ["fresh"] if options.restarts > 0 else []
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
    """Run episodes of a policy under one attack; train the attacker first where it is a fresh one.

    The episodes start alike under every attack, and policies with the same seed meet the same pushes.

    Args:
        policy: From observations ``[N, O]`` to actions ``[N, A]``, see :func:`~rrl.evaluation.grids.evaluate_cells`.
        env_id: A task with an adversary, or one that :func:`adversarial_task` finds one for.
        cell: The attack.
        options: Budget of a fresh adversary.
        num_episodes: Episodes to report, and for each restart as many to choose by.
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
    task = adversarial_task(env_id)
    battle = _Battle(policy, task, cell.force_limit, num_episodes, env_kwargs)
    returns: tuple[float, ...] = ()
    steps = 0
    if cell.attacker == "fresh":
        adversaries = [
            train_adversary(
                policy,
                task,
                force_limit=cell.force_limit,
                num_steps=options.steps,
                seed=seed + TRAINING_SEED + restart,
                env_kwargs=env_kwargs,
            )
            for restart in range(options.restarts)
        ]
        strongest, returns = choose_strongest(battle, adversaries, seed)
        make: MakeAttacker | None = strongest.attacker
        steps = sum(adversary.num_steps for adversary in adversaries)
    else:
        make = own if cell.attacker == "own" else FIXED_ATTACKERS[cell.attacker]
    if make is None:
        raise ValueError(f"{label.policy or 'the policy'} has no adversary of its own.")
    episodes, force_rms = battle.fight(make, seed + REPORT_SEED)
    row = replace(_row(cell, env_id, episodes, time.perf_counter() - began), **label._asdict())
    return AttackResult(row, force_rms, steps, returns)


def choose_strongest(
    battle: _Battle, adversaries: Sequence[FreshAdversary], seed: int
) -> tuple[FreshAdversary, tuple[float, ...]]:
    """Choose the adversary that leaves the lowest mean return, in episodes that are not those of the report.

    Args:
        battle: Runs the episodes.
        adversaries: At least one.
        seed: Seed of the evaluation.

    Returns:
        The strongest, and the mean return under each.
    """
    returns = [float(battle.fight(item.attacker, seed + SELECTION_SEED)[0].returns.mean()) for item in adversaries]
    return adversaries[int(np.argmin(returns))], tuple(returns)


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


class _Battle(NamedTuple):
    """A policy in a task, ready to be attacked."""

    policy: Policy
    task: str
    force_limit: float
    num_episodes: int
    env_kwargs: Mapping[str, Any] | None

    def fight(self, make: MakeAttacker, seed: int) -> tuple[EpisodeReturns, float]:
        """Run the episodes, each in a world of its own; return them and the force's root mean square, newtons."""
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
