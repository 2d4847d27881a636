"""What a study is to do: the fields of ``conf/studies/*.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from rrl.checks import require_at_least, require_one_of
from rrl.envs import ADVERSARIAL_TASKS, AdversaryBodies
from rrl.envs.make import nominal_limit
from rrl.evaluation.attacks.evaluate import AttackOptions
from rrl.evaluation.cells.suites import base_task
from rrl.evaluation.settings import EvaluationSettings

MOST_SEEDS = 1000
"""More are a slip of the pen, which would fill the memory with their numbers."""
FORMS = {"methods": "{configs: [conf/trpo_hopper.yaml]}", "tasks": "{env_id: Hopper-v5}"}
"""How an entry is written."""
TASK = "{task}"
"""Stands for the name of the task in the files of a method."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """How one method is trained."""

    configs: Sequence[str]
    """Files for ``--config`` of ``train.py``, the later ones over the earlier; ``{task}`` is the name of the task."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values over them by dotted name, such as ``model.init_args.learner.gamma: 0.98``."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Where the policies of a task are judged."""

    env_id: str
    """The environment of the evaluation."""
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
    force_limits: Sequence[float] | None = None
    """Largest forces of the attacks of this task, newtons; those of ``evaluation.attacks`` where null."""

    def __post_init__(self) -> None:
        if self.force_limits is not None:
            AttackOptions(force_limits=self.force_limits)  # refuses what is no force


@dataclass(frozen=True, kw_only=True)
class StudyEvaluation:
    """How the last policies of all runs of a task are judged; the fields are those of ``conf/evaluation/*.yaml``."""

    suite: str | None = "quick"
    """Name of a suite in ``conf/evaluation/suites``, ``nominal``, or path of a YAML file; no evaluation where null."""
    episodes: int = 10
    """Episodes of each cell."""
    seed: int = 0
    """Seed of the episodes and of the adversaries that are trained."""
    attacks: AttackOptions | None = None
    """How hard the policies are attacked; not at all where null."""
    video: bool = False
    """Show each method's first policy, in the world where they do worst, as a film in the report; it takes seconds."""

    def __post_init__(self) -> None:
        require_at_least(1, **{"evaluation.episodes": self.episodes})
        require_at_least(0, **{"evaluation.seed": self.seed})


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Methods x tasks x seeds, each trained, then evaluated task by task."""

    methods: Mapping[str, Method]
    """By the name that the report shows."""
    tasks: Mapping[str, Task]
    """By the name that takes the place of ``{task}`` in the files of the methods."""
    seeds: list[int] | str = "0..2"
    """Seeds of the training: ``[0, 1, 2]``, ``0..2`` or ``0,2,5``."""
    steps: int | None = None
    """Real environment steps of each run, rounded to whole epochs; as in the configurations where null."""
    evaluation: StudyEvaluation = field(default_factory=StudyEvaluation)
    """How the policies are judged."""
    curves: Sequence[str] = ("eval/return_mean",)
    """Metrics whose course is drawn."""
    baseline: str | None = None
    """Method that the others are compared with in the report."""
    workers: int = 1
    """Trainings side by side, and processes of the evaluation. The evaluation does not depend on it."""
    ray: str | None = None
    """Address of a Ray cluster for trainings and evaluation, ``auto``, or ``local`` for ``workers`` processes of this
    machine; a part whose process dies is begun again. The machines share the folder."""
    output: str = "studies/study"
    """Folder of everything that the study makes. The same study goes on there where it stopped."""

    def __post_init__(self) -> None:
        require_at_least(1, workers=self.workers, **{} if self.steps is None else {"steps": self.steps})
        if not self.methods or not self.tasks:
            raise ValueError("`methods` and `tasks` must each name at least one.")
        if self.baseline is not None:
            require_one_of(self.methods, baseline=self.baseline)
        if bad := [name for name in self.tasks if not re.fullmatch(r"\w[\w.-]{0,60}", name)]:
            raise ValueError(f"`tasks` must have names for folders (letters, digits, _ . -), got {bad[0]!r}.")
        if not self.curves:
            raise ValueError("`curves` must name at least one metric.")
        names = [folder_name(method) for method in self.methods]
        if len({*names}) < len(names):
            raise ValueError(f"`methods` must differ in more than their signs, got {', '.join(self.methods)}.")
        seed_numbers(self.seeds)


def evaluation_settings(
    study: StudySettings, suite: str, task: str, policies: Mapping[str, Sequence[str]]
) -> EvaluationSettings:
    """Describe the evaluation of a task, of the checkpoints by method; its results lie in a folder of its own."""
    place, how = dict(vars(study.tasks[task])), study.evaluation
    limits = place.pop("force_limits")
    return EvaluationSettings(
        **place,
        policies=policies,
        suite=suite,
        episodes=how.episodes,
        seed=how.seed,
        attacks=replace(how.attacks, force_limits=limits) if how.attacks and limits is not None else how.attacks,
        video=how.video,
        output=str(Path(study.output) / task),
        baseline=study.baseline if study.baseline in policies else None,
        workers=study.workers,
        ray=study.ray,
    )


def folder_name(method: str) -> str:
    """Make a method's name one for files.

    Example:
        >>> folder_name("AD-RRL (paper)")
        'ad_rrl_paper'
    """
    return re.sub(r"[^a-z0-9]+", "_", method.lower()).strip("_") or "method"


def seed_numbers(seeds: Sequence[int] | str) -> tuple[int, ...]:
    """Read seeds; a ValueError if they are no different whole numbers of at least 0.

    Example:
        >>> seed_numbers("0..3"), seed_numbers("1,5"), seed_numbers([7])
        ((0, 1, 2, 3), (1, 5), (7,))
    """
    text = seeds if isinstance(seeds, str) else ",".join(map(str, seeds))
    numbers: list[int] = []
    for part in text.replace(" ", "").strip("[]").split(","):
        found = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", part)
        if not found:
            raise ValueError(f"`seeds` must be whole numbers such as 0..2 or 0,2,5, got {seeds!r}.")
        numbers += range(int(found[1]), min(int(found[2] or found[1]) + 1, int(found[1]) + MOST_SEEDS + 1))
    if len(numbers) > MOST_SEEDS:
        raise ValueError(f"`seeds` must be at most {MOST_SEEDS} numbers, got {seeds!r}.")
    if not numbers or len({*numbers}) < len(numbers):
        raise ValueError(f"`seeds` must be different numbers, the smaller end of a range first, got {seeds!r}.")
    return tuple(numbers)


def study_of_config(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Make the settings of a study of a single configuration of ``train.py``, judged where it is trained."""
    data = section(content, "data", "init_args")
    if data.get("env_id") is None:
        raise ValueError(f"{path} names no environment (`data.init_args.env_id`), so it cannot be studied alone.")
    return {
        "methods": {path.stem: {"configs": [str(path)]}},
        "tasks": {re.split("[/:]", data["env_id"])[-1]: judged_place(data)},
        "output": str(Path("studies") / path.stem),
    }


def judged_place(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return where policies are judged that were trained with these settings of the data, as fields of a `Task`.

    Example:
        >>> judged_place({"env_id": "Hopper-v5", "num_envs": 8, "env_kwargs": {"frame_skip": 2}})
        {'env_id': 'Hopper-v5', 'env_kwargs': {'frame_skip': 2}}
    """
    place = {name: data[name] for name in ("env_kwargs", "wrappers", "adversary") if data.get(name)}
    if limit := data.get("max_episode_steps"):
        place["max_episode_steps"] = nominal_limit(data["env_id"], limit)
    return {"env_id": judged_in(data["env_id"]), **place}


def judged_in(env_id: str) -> str:
    """Return the environment in which policies are judged that were trained in another: that without the adversary.

    Example:
        >>> judged_in("rrl/Hopper6Adv-v1"), judged_in("my_robots:Walker-v0")
        ('Hopper-v5', 'my_robots:Walker-v0')
    """
    return base_task(env_id) if env_id in ADVERSARIAL_TASKS else env_id


def section(content: Any, *names: str) -> Mapping[str, Any]:
    """Return a part of a nested configuration; an empty one where it is not there, or holds something else.

    Example:
        >>> section({"data": {"init_args": {"num_envs": 8}}}, "data", "init_args"), section({"data": 3}, "data")
        ({'num_envs': 8}, {})
    """
    for name in names:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content if isinstance(content, Mapping) else {}


def check_form(content: Any) -> None:
    """Refuse methods, tasks and evaluations of a study that hold something else than settings by name."""
    entries = {("evaluation", "{suite: quick}"): content["evaluation"]} if content.get("evaluation") else {}
    for kind, example in FORMS.items():
        entries |= {(f"{kind}.{name}", example): entry for name, entry in section(content, kind).items()}
    for (name, example), entry in entries.items():
        if not isinstance(entry, Mapping):
            raise ValueError(f"`{name}` must hold settings such as {example}, got {entry!r}.")


def is_training(content: object) -> bool:
    """Tell a configuration of ``train.py`` from that of a study."""
    return isinstance(content, dict) and "model" in content and "methods" not in content


def read_yaml(path: Path) -> Any:
    """Read a YAML file whose form has been checked."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))
