"""Evaluation suites: named lists of sweeps over conditions, read from ``conf/evaluation/suites``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rrl.checks import near_file, suggestion
from rrl.envs.bodies import ADVERSARIAL_TASKS
from rrl.envs.physics import floor_note
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.subjects import Subject, require_possible, subject_of
from rrl.evaluation.cells.sweeps import Sweep
from rrl.evaluation.episodes import Trial
from rrl.evaluation.rows import Place, require_no_formula
from rrl.shipped import CONF

SUITE_FOLDER = CONF / "evaluation" / "suites"
NOMINAL = "nominal"
"""Name of the first sweep of every suite, of its one cell, and of the suite that has no other."""


@dataclass(frozen=True)
class Cell:
    """One condition of a suite."""

    suite: str
    sweep: str
    name: str
    condition: Condition
    axes: tuple[tuple[str, float], ...] = ()
    """Parameter and value along each axis of its sweep; empty for cells that are listed one by one."""

    def __post_init__(self) -> None:
        require_no_formula(self.suite, self.sweep, self.name)

    @property
    def place(self) -> Place:
        """Where it is; its kind is by what the sweep changes, also where a value happens to be the nominal one."""
        axes: list[Any] = [item for axis in self.axes[:2] for item in axis]
        return Place(self.suite, self.sweep, self.name, self.condition.kind, *axes)


@dataclass(frozen=True)
class Suite:
    """The cells of a suite for one task."""

    name: str
    cells: tuple[Cell, ...]
    """The nominal cell first."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know."""


def suite_names() -> list[str]:
    """List the shipped suites."""
    return sorted([NOMINAL, *(path.stem for path in SUITE_FOLDER.glob("*.yaml"))])


def load_suite(name_or_path: str | os.PathLike[str], trial: Trial) -> Suite:
    """Read the part of a suite that concerns an environment, and check it whole; a ValueError says what is wrong.

    Bodies of the trial that the environment does not have are wrong too. The suite is a shipped one, ``nominal``, or
    the path of a YAML file.
    """
    name, content = _read(str(name_or_path))
    nominal = Cell(name, NOMINAL, NOMINAL, Condition())
    subject = subject_of(trial)
    if name == NOMINAL:
        return Suite(name, (nominal,))
    task_id = base_task(trial.env_id)
    try:
        sweeps = [Sweep.read(sweep, task_id) for sweep in content]
        chosen = [sweep for sweep in sweeps if sweep.tasks is None or task_id in sweep.tasks]
        left_out = [sweep.name for sweep in chosen if sweep.if_possible and not _is_possible(sweep, subject)]
        kept = [sweep for sweep in chosen if sweep.name not in left_out]
        cells = [Cell(name, sweep.name, *place) for sweep in kept for place in sweep.conditions()]
        if not cells:
            tasks = sorted({task for sweep in sweeps for task in sweep.tasks or ()})
            raise ValueError(f"it has no sweep for {task_id}, only for {tasks}.")
        notes = _check(cells, subject)
    except ValueError as error:
        raise ValueError(f"In the suite {name!r}: {error}") from error
    if left_out:
        notes = (*notes, f"{trial.env_id} cannot have, and was not put through: {', '.join(left_out)}.")
    return Suite(name, (nominal, *cells), notes)


def base_task(env_id: str) -> str:
    """Return the registered name of a task without its adversary, and without the module that registers it.

    Example:
        >>> base_task("rrl/Hopper6Adv-v1"), base_task("Hopper-v5")
        ('Hopper-v5', 'Hopper-v5')
    """
    name = env_id.rpartition(":")[2]
    return ADVERSARIAL_TASKS[name].env_id if name in ADVERSARIAL_TASKS else name


def _read(text: str) -> tuple[str, list[object]]:
    """Find a suite file; return the name of the suite and its sweeps as they stand there, none for ``nominal``."""
    if text == NOMINAL:
        return NOMINAL, []
    path = SUITE_FOLDER / f"{text}.yaml" if text in suite_names() else Path(text)
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        hint = near_file(path) if path.suffix else suggestion(text, suite_names())
        hint = f"; there are {', '.join(suite_names())}, or YAML files." if hint == "." else hint
        raise ValueError(f"There is no suite {text!r}{hint}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"The suite {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict) or set(content) != {"sweeps"} or not isinstance(content["sweeps"], list):
        raise ValueError(f"The suite {path} must hold a list `sweeps` and nothing else.")
    if path.stem == NOMINAL:
        raise ValueError(f"The suite {path} needs another name: {NOMINAL!r} is the suite without sweeps.")
    return path.stem, content["sweeps"]


def _is_possible(sweep: Sweep, subject: Subject) -> bool:
    try:
        for _, condition, _ in sweep.conditions():
            require_possible(condition, subject)
    except ValueError:
        return False
    return True


def _check(cells: Sequence[Cell], subject: Subject) -> tuple[str, ...]:
    """Try all conditions on an environment, and gather the notes."""
    repeated = [name for name, count in Counter(cell.name for cell in cells).items() if count > 1]
    if repeated:
        raise ValueError(f"the cell {repeated[0]!r} occurs twice.")
    for cell in cells:
        require_possible(cell.condition, subject)
    names = {parameter.name for cell in cells for parameter, _ in cell.condition.settings}
    if "floor_friction" not in names or subject.model is None:
        return ()
    return (floor_note(subject.model, subject.env_id),)
