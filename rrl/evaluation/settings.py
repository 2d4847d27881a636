"""What an evaluation is to do: the fields of ``conf/evaluation/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rrl.checks import require_at_least, require_one_of
from rrl.envs import AdversaryBodies
from rrl.evaluation.attacks.evaluate import AttackOptions
from rrl.evaluation.episodes import Trial


@dataclass(frozen=True)
class EvaluationSettings:
    """An evaluation of several policies of several methods in the cells of a suite, and under attack."""

    env_id: str
    """The environment, ``module:id`` where a module of yours registers it. Where it has no adversary, attacks happen on
    the adversarial task with the same physics."""
    policies: Mapping[str, Sequence[str | dict[str, str | None]]]
    """Entries by name of the method: checkpoints, folders, patterns, MLflow runs, Stable-Baselines3 zip files (with
    other statistics: ``{zip: ..., normalization: ...}``), or ``module:function``."""
    suite: str = "quick"
    """Name of a suite in ``conf/evaluation/suites``, ``nominal``, or path of a YAML file."""
    episodes: int = 10
    """Episodes of each cell."""
    seed: int = 0
    """Seed of all episodes and of the adversaries that are trained."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of the environment, such as ``reset_noise_scale``."""
    wrappers: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)
    """Wrappers by class path, the innermost first, with their keywords; not for native tasks."""
    max_episode_steps: int | None = None
    """Time limit; the task's own where null. Must be given where it has none."""
    adversary: AdversaryBodies | None = None
    """Bodies that attackers push, such as ``{bodies: [torso]}``; those of the adversarial task where null."""
    push_body: str | None = None
    """Body that the pushes of the suite act on, along x; that of the native task where null."""
    attacks: AttackOptions | None = None
    """How hard the policies are attacked; not at all where null."""
    output: str = "evaluations"
    """Folder of the results. The same evaluation goes on there where it stopped."""
    baseline: str | None = None
    """Method that the others are compared with."""
    video: bool = False
    """Show each method's first policy, in the world where they do worst, as a film in the report; it takes seconds."""
    workers: int = 1
    """Processes. The results do not depend on it."""
    ray: str | None = None
    """Address of a Ray cluster that takes the place of local processes, ``local`` for one on this machine."""

    @property
    def trial(self) -> Trial:
        """The episodes of each cell."""
        return Trial(
            self.env_id,
            self.episodes,
            self.seed,
            self.env_kwargs,
            wrappers=self.wrappers,
            max_episode_steps=self.max_episode_steps,
            adversary=self.adversary,
            push_body=self.push_body,
        )

    def __post_init__(self) -> None:
        require_at_least(1, episodes=self.episodes, workers=self.workers)
        require_at_least(0, seed=self.seed)
        if self.baseline is not None:
            require_one_of(self.policies, baseline=self.baseline)
