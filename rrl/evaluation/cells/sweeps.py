"""Sweeps of a suite file: which parameters are changed, and to which values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rrl.checks import suggestion
from rrl.envs.tasks import TASKS
from rrl.evaluation.cells.conditions import Condition, Parameter

SPACING = ("low", "high", "endpoint")
MOST_AXES = 3


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A parameter and the values that it takes: ``values``, or evenly spaced ones by either ``count`` or ``step``.

    Example:
        >>> Axis(parameter="mass", low=0.5, high=1.5, count=3).points
        [0.5, 1.0, 1.5]
    """

    parameter: str
    """See :meth:`~rrl.evaluation.cells.conditions.Parameter.parse`."""
    values: Sequence[float] | None = None
    low: float | None = None
    high: float | None = None
    count: int | None = None
    step: float | None = None
    endpoint: bool | None = None
    """Whether ``high`` is one of the evenly spaced values; where None it is."""
    divide_by: float = 1.0
    """Turns published absolute values into factors of the nominal value with which they were published."""

    def __post_init__(self) -> None:
        Parameter.parse(self.parameter)
        name = f"the axis {self.parameter!r}"
        rules = [rule for rule in ("values", "count", "step") if getattr(self, rule) is not None]
        _require(len(rules) == 1, f"{name} needs one of `values`, `count` and `step`, got {rules}.")
        _require_numbers(name, divide_by=self.divide_by)
        _require(self.divide_by != 0.0, f"`divide_by` of {name} must not be 0.")
        if self.values is None:
            self._check_spacing(name, self.low, self.high)
        else:
            foreign = [spacing for spacing in SPACING if getattr(self, spacing) is not None]
            _require(not foreign, f"{name} may hold nothing beside `values` and `divide_by`, got {foreign}.")
            are_numbers = isinstance(self.values, list) and all(map(_is_number, self.values))
            _require(are_numbers, f"{name} needs a list of numbers as `values`, got {self.values!r}.")
        are_finite = bool(self.points) and bool(np.isfinite(self.points).all())
        _require(are_finite, f"{name} needs finite values, got {self.points}.")

    def _check_spacing(self, name: str, low: Any, high: Any) -> None:
        _require_numbers(name, low=low, high=high)
        _require(low <= high, f"{name} needs low <= high, got {float(low)} and {float(high)}.")
        if self.count is not None:
            whole = isinstance(self.count, int) and self.count >= 1
            _require(whole, f"`count` of {name} must be a positive whole number, got {self.count!r}.")
        if self.step is not None:
            _require_numbers(name, step=self.step)
            _require(self.step > 0.0, f"{name} needs a positive step, got {self.step}.")

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Axis:
        """Read an element of ``axes``."""
        _require(isinstance(content.get("parameter"), str), f"an axis needs a `parameter`, got {dict(content)}.")
        _check_keys(f"the axis {content['parameter']!r}", content, cls)
        return cls(**content)

    @property
    def points(self) -> list[float]:
        """The values, rounded: 0.9500000000000001 and 0.95 are one, in tables as well as in the worlds."""
        return [float(value) for value in np.round(self._spaced() / self.divide_by, 10)]

    def _spaced(self) -> NDArray[np.float64]:
        if self.low is None or self.high is None:
            return np.array(self.values, dtype=np.float64)
        endpoint = self.endpoint is not False
        if self.step is None:
            return np.linspace(self.low, self.high, self.count or 0, endpoint=endpoint)
        # What is within rounding of the end is the end.
        count = np.floor((self.high - self.low) / self.step + 1e-9) + 1
        values: NDArray[np.float64] = self.low + self.step * np.arange(count)
        return values if endpoint else values[values < self.high - 1e-9 * self.step]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Conditions that belong together: the grid of some axes, or ones that are listed by name."""

    name: str
    tasks: Sequence[str] | None = None
    """The tasks that it is for; every environment where None."""
    if_possible: bool = False
    """Whether it is left out, rather than refused, where an environment cannot have it."""
    axes: Sequence[Axis] = ()
    cells: Mapping[str, Mapping[str, float]] | None = None
    """Settings by name, see :meth:`~rrl.evaluation.cells.conditions.Condition.of`."""

    @classmethod
    def read(cls, content: Any, task_id: str) -> Sweep:
        """Read an element of ``sweeps`` for a task; ValueError says in one sentence what is wrong with it."""
        named = isinstance(content, dict) and isinstance(content.get("name"), str)
        _require(named, f"a sweep must have a `name`, got {content!r}.")
        what = f"the sweep {content['name']!r}"
        _check_keys(what, content, cls)
        _require(("axes" in content) != ("cells" in content), f"{what} needs either `axes` or `cells`.")
        tasks, axes, cells = content.get("tasks", []), content.get("axes", []), content.get("cells", {})
        _require(_is_list_of(str, tasks), f"`tasks` of {what} must be a list, got {tasks!r}.")
        foreign = sorted(set(tasks) - {*TASKS, *gymnasium.registry, task_id})
        _require(not foreign, f"{what} must be for tasks among {sorted(TASKS)} or registered ones, got {foreign}.")
        optional = content.get("if_possible", False)
        _require(isinstance(optional, bool), f"`if_possible` of {what} must be true or false, got {optional!r}.")
        _require(_is_list_of(dict, axes), f"`axes` of {what} must be a list of mappings, got {axes!r}.")
        _require(_are_cells(cells), f"`cells` of {what} must map names to settings, got {cells!r}.")
        _require(len(axes) + len(cells) > 0, f"{what} is empty.")
        _require(len(axes) <= MOST_AXES, f"{what} may have {MOST_AXES} axes, got {len(axes)}.")
        return cls(**content | {"axes": [Axis.read(axis) for axis in axes]})

    def conditions(self) -> Iterator[tuple[str, Condition, tuple[tuple[str, float], ...]]]:
        """Yield the name of each cell, its condition, and its value along each axis."""
        for name, values in (self.cells or {}).items():
            yield f"{self.name}: {name}", Condition.of(values), ()
        names = [axis.parameter for axis in self.axes]
        for point in itertools.product(*(axis.points for axis in self.axes)) if names else ():
            place = tuple(zip(names, point, strict=True))
            name = ", ".join(f"{text} {value:g}" for text, value in place)
            yield f"{self.name}: {name}", Condition.of(dict(place)), place


def _check_keys(what: str, content: Mapping[str, Any], cls: type) -> None:
    known = sorted(cls.__dataclass_fields__)  # type: ignore[attr-defined]  # of a dataclass
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise ValueError(f"{what} may hold {known}, got {unknown}{suggestion(unknown[0], known)}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _require_numbers(what: str, **values: Any) -> None:
    for name, value in values.items():
        _require(_is_number(value), f"`{name}` of {what} must be a number, got {value!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list_of(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _are_cells(cells: Any) -> bool:
    """Tell whether something maps names to mappings of parameters to numbers."""
    return isinstance(cells, dict) and all(
        isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values())
        for values in cells.values()
    )
