"""Suite files: finding them, reading them, and saying in one sentence what is wrong with them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rrl.envs.tasks import TASKS

SUITE_FOLDER = Path(__file__).parents[2] / "conf" / "evaluation" / "suites"
NOMINAL = "nominal"
"""Name of the first sweep of every suite, of its one cell, and of the suite that has no other."""


def suite_names() -> list[str]:
    """List the shipped suites.

    Returns:
        Their names.
    """
    return sorted([NOMINAL, *(path.stem for path in SUITE_FOLDER.glob("*.yaml"))])


def read_sweeps(name_or_path: str | os.PathLike[str]) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """Find a suite file and read its list of sweeps.

    Args:
        name_or_path: Name of a shipped suite, ``nominal``, or path of a YAML file.

    Returns:
        Name of the suite, sweeps as they stand in the file; none for ``nominal``.

    Raises:
        ValueError: If there is no such file, or it holds no list of sweeps.
    """
    text = str(name_or_path)
    if text == NOMINAL:
        return NOMINAL, []
    path = SUITE_FOLDER / f"{text}.yaml"
    if text not in suite_names():
        path = Path(text)
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


def checked_sweep(sweep: Any) -> Mapping[str, Any]:
    """Check the form of a sweep; its axes and settings are checked where they are read.

    Args:
        sweep: An element of the list in a suite file.

    Returns:
        The same.

    Raises:
        ValueError: If it is no mapping of the form ``name``, ``tasks`` (optional), and ``axes`` or ``cells``.
    """
    keys = {"name", "tasks", "axes", "cells"}
    if not isinstance(sweep, dict) or not isinstance(sweep.get("name"), str):
        raise ValueError(f"a sweep must have a `name`, got {sweep!r}.")
    unknown = sorted(set(sweep) - keys)
    if unknown:
        near = difflib.get_close_matches(unknown[0], keys, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"the sweep {sweep['name']!r} may hold {sorted(keys)}, got {unknown}{hint}")
    if ("axes" in sweep) == ("cells" in sweep):
        raise ValueError(f"the sweep {sweep['name']!r} needs either `axes` or `cells`.")
    if not _is_list_of(str, sweep.get("tasks", [])):
        raise ValueError(f"`tasks` of the sweep {sweep['name']!r} must be a list, got {sweep['tasks']!r}.")
    if not _is_list_of(dict, sweep.get("axes", [])):
        raise ValueError(f"`axes` of the sweep {sweep['name']!r} must be a list of mappings, got {sweep['axes']!r}.")
    if not _are_cells(sweep.get("cells", {})):
        raise ValueError(f"`cells` of the sweep {sweep['name']!r} must map names to settings, got {sweep['cells']!r}.")
    foreign = sorted(set(sweep.get("tasks", [])) - set(TASKS))
    if foreign:
        raise ValueError(f"the sweep {sweep['name']!r} must be for tasks among {sorted(TASKS)}, got {foreign}.")
    return sweep


def _is_list_of(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _are_cells(cells: Any) -> bool:
    """Tell whether something maps names to mappings of parameters to numbers."""
    return isinstance(cells, dict) and all(
        isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values())
        for values in cells.values()
    )
