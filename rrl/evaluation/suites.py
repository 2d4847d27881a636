"""Evaluation suites: named lists of sweeps over conditions, read from ``conf/evaluation/suites``."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco

from rrl.envs.bodies import ADVERSARIAL_TASKS
from rrl.envs.forces import set_masses
from rrl.envs.make import is_native
from rrl.envs.physics import floor_note
from rrl.envs.tasks import TASKS, make_task
from rrl.evaluation.conditions import Condition
from rrl.evaluation.results import CellKind
from rrl.evaluation.suite_files import NOMINAL, checked_sweep, read_sweeps
from rrl.evaluation.sweep_axes import axis_values


@dataclass(frozen=True)
class Cell:
    """One condition of a suite, in its place."""

    suite: str
    sweep: str
    name: str
    """Unique within the suite."""
    condition: Condition
    axes: tuple[tuple[str, float], ...] = ()
    """Parameter and value along each axis of its sweep; empty for cells that are listed one by one."""

    @property
    def kind(self) -> CellKind:
        """Kind of its condition, by what the sweep changes, also where a value happens to be the nominal one."""
        return self.condition.kind


@dataclass(frozen=True)
class Suite:
    """The cells of a suite for one task."""

    name: str
    env_id: str
    cells: tuple[Cell, ...]
    """The nominal cell, then the sweeps in their order."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know."""


def load_suite(name_or_path: str | os.PathLike[str], env_id: str) -> Suite:
    """Read the part of a suite that concerns a task, and check it whole.

    Args:
        name_or_path: Name of a shipped suite, ``nominal``, or path of a YAML file.
        env_id: The environment. One that is not native can only have the suite ``nominal``.

    Returns:
        The suite.

    Raises:
        ValueError: In one sentence, if there is no such suite, it is malformed, or it has nothing for the task.
    """
    name, sweeps = read_sweeps(name_or_path)
    nominal = Cell(name, NOMINAL, NOMINAL, Condition())
    if name == NOMINAL:
        return Suite(name, env_id, (nominal,))
    if not is_native(env_id):
        raise ValueError(f"The suite {name!r} needs a native task, got {env_id}; any environment can have {NOMINAL!r}.")
    task_id = ADVERSARIAL_TASKS[env_id].env_id if env_id in ADVERSARIAL_TASKS else env_id
    try:
        chosen = [sweep for sweep in map(checked_sweep, sweeps) if task_id in sweep.get("tasks", TASKS)]
        cells = [cell for sweep in chosen for cell in _sweep_cells(name, sweep)]
        if not cells:
            tasks = sorted({task for sweep in sweeps for task in sweep.get("tasks", TASKS)})
            raise ValueError(f"it has no sweep for {task_id}, only for {tasks}.")
        notes = _check_on_model(cells, env_id, task_id)
    except ValueError as error:
        raise ValueError(f"In the suite {name!r}: {error}") from error
    return Suite(name, env_id, (nominal, *cells), notes)


def _sweep_cells(suite: str, sweep: Mapping[str, Any]) -> Iterator[Cell]:
    if not sweep.get("axes") and not sweep.get("cells"):
        raise ValueError(f"the sweep {sweep['name']!r} is empty.")
    for name, values in (sweep.get("cells") or {}).items():
        yield Cell(suite, sweep["name"], f"{sweep['name']}: {name}", Condition.of(values))
    axes = [axis_values(axis) for axis in sweep.get("axes", [])]
    if len(axes) > 3:
        raise ValueError(f"the sweep {sweep['name']!r} may have 3 axes, got {len(axes)}.")
    if not axes:
        return
    for values in itertools.product(*(values for _, values in axes)):
        place = tuple((text, value) for (text, _), value in zip(axes, values, strict=True))
        name = ", ".join(f"{text} {value:g}" for text, value in place)
        yield Cell(suite, sweep["name"], f"{sweep['name']}: {name}", Condition.of(dict(place)), place)


def _check_on_model(cells: Sequence[Cell], env_id: str, task_id: str) -> tuple[str, ...]:
    """Try all conditions on the model of the task, and gather the notes."""
    repeated = [name for name, count in Counter(cell.name for cell in cells).items() if count > 1]
    if repeated:
        raise ValueError(f"the cell {repeated[0]!r} occurs twice.")
    task = make_task(task_id)
    model = mujoco.MjModel.from_xml_path(str(task.model_path))
    set_masses(model, ADVERSARIAL_TASKS[env_id].masses if env_id in ADVERSARIAL_TASKS else {})
    for cell in cells:
        cell.condition.fields(model, task_id)
        cell.condition.reset_noise_scale(task)
    names = {parameter.name for cell in cells for parameter, _ in cell.condition.settings}
    return (floor_note(model, task_id),) if "floor_friction" in names else ()
