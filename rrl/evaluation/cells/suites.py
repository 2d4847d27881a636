"""Evaluation suites: named lists of sweeps over conditions, read from ``conf/evaluation/suites``."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import yaml

from rrl.envs.bodies import ADVERSARIAL_TASKS
from rrl.envs.forces import set_masses
from rrl.envs.make import is_native
from rrl.envs.physics import floor_note
from rrl.envs.tasks import make_task
from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.cells.sweeps import Sweep
from rrl.evaluation.rows import Place, require_no_formula

SUITE_FOLDER = Path(__file__).parents[3] / "conf" / "evaluation" / "suites"
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


def load_suite(name_or_path: str | os.PathLike[str], env_id: str) -> Suite:
    """Read the part of a suite that concerns a task, and check it whole; a ValueError says what is wrong with it.

    It is a shipped one, ``nominal``, or the path of a YAML file; an environment that is not native can only have
    ``nominal``.
    """
    name, content = _read(str(name_or_path))
    nominal = Cell(name, NOMINAL, NOMINAL, Condition())
    if name == NOMINAL:
        return Suite(name, (nominal,))
    if not is_native(env_id):
        raise ValueError(f"The suite {name!r} needs a native task, got {env_id}; any environment can have {NOMINAL!r}.")
    task_id = base_task(env_id)
    try:
        sweeps = [Sweep.read(sweep) for sweep in content]
        chosen = [sweep for sweep in sweeps if task_id in sweep.tasks]
        cells = [Cell(name, sweep.name, *place) for sweep in chosen for place in sweep.conditions()]
        if not cells:
            tasks = sorted({task for sweep in sweeps for task in sweep.tasks})
            raise ValueError(f"it has no sweep for {task_id}, only for {tasks}.")
        notes = _check_on_model(cells, env_id)
    except ValueError as error:
        raise ValueError(f"In the suite {name!r}: {error}") from error
    return Suite(name, (nominal, *cells), notes)


def base_task(env_id: str) -> str:
    """Return the task without its adversary.

    Example:
        >>> base_task("rrl/Hopper6Adv-v1"), base_task("Hopper-v5")
        ('Hopper-v5', 'Hopper-v5')
    """
    return ADVERSARIAL_TASKS[env_id].env_id if env_id in ADVERSARIAL_TASKS else env_id


def _read(text: str) -> tuple[str, list[object]]:
    """Find a suite file; return the name of the suite and its sweeps as they stand there, none for ``nominal``."""
    if text == NOMINAL:
        return NOMINAL, []
    path = SUITE_FOLDER / f"{text}.yaml" if text in suite_names() else Path(text)
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        near = difflib.get_close_matches(text, suite_names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(suite_names())}, or YAML files."
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


def _check_on_model(cells: Sequence[Cell], env_id: str) -> tuple[str, ...]:
    """Try all conditions on the model of the task, and gather the notes."""
    repeated = [name for name, count in Counter(cell.name for cell in cells).items() if count > 1]
    if repeated:
        raise ValueError(f"the cell {repeated[0]!r} occurs twice.")
    task = make_task(base_task(env_id))
    model = mujoco.MjModel.from_xml_path(str(task.model_path))
    set_masses(model, ADVERSARIAL_TASKS[env_id].masses if env_id in ADVERSARIAL_TASKS else {})
    for cell in cells:
        cell.condition.fields(model, task.env_id)
        cell.condition.reset_noise_scale(task)
    names = {parameter.name for cell in cells for parameter, _ in cell.condition.settings}
    return (floor_note(model, task.env_id),) if "floor_friction" in names else ()
