"""The search space of a tuning: which values each setting may take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from rrl.checks import require_one_of
from rrl.cli_errors import check_files, near_configuration
from rrl.cli_sentences import one_sentence
from rrl.study.settings import read_yaml
from rrl.tracking.outbox import first_line
from rrl.tune.objective import Cvar

if TYPE_CHECKING:
    from optuna import Trial

Filled = TypeVar("Filled")
OBJECTIVE = "objective"


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that a setting may take: an interval, or choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    """Whether the logarithm is uniform."""
    type: Literal["float", "int"] = "float"
    choices: Sequence[Any] | None = None
    """Values that are plain, or lists."""

    def __post_init__(self) -> None:
        require_one_of(("float", "int"), type=self.type)
        low, high = self.low, self.high
        if (self.choices is None) != (low is not None and high is not None) or self.choices == []:
            raise ValueError("a setting of the space needs either `low` and `high`, or `choices`.")
        if low is not None and high is not None and (not low < high or (self.log and low <= 0.0)):
            raise ValueError(f"`low` must be below `high`, and positive where `log`, got {low} and {high}.")
        for name, end in {"low": low, "high": high}.items():
            if end is not None and not (math.isfinite(end) and (self.type == "float" or end == round(end))):
                raise ValueError(f"`{name}` must be a {'whole' if self.type == 'int' else 'finite'} number, got {end}.")

    def suggest(self, trial: Trial, name: str) -> Any:
        """Let a trial choose a value."""
        if self.choices is not None:  # Optuna takes plain values alone
            return json.loads(trial.suggest_categorical(name, [json.dumps(choice) for choice in self.choices]))
        low, high = float(self.low or 0.0), float(self.high or 0.0)
        if self.type == "int":
            return trial.suggest_int(name, round(low), round(high), log=self.log)
        return trial.suggest_float(name, low, high, log=self.log)


class Space(NamedTuple):
    """What a file of ``conf/spaces`` holds."""

    ranges: Mapping[str, Range]
    """By dotted setting."""
    objective: Cvar | None
    """What trials are judged by; their last evaluations where None."""


def read_space(path: Path) -> Space:
    """Read a search space; a ValueError of one sentence if it is none."""
    if not path.is_file():
        raise ValueError(f"There is no search space {path}{near_configuration(path)}")
    check_files(["--config", str(path)])
    found: dict[str, Any] = {}
    for name, content in read_yaml(path).items():
        try:
            found[str(name)] = _objective(content) if name == OBJECTIVE else _fill(Range, content)
        except ValueError as error:
            raise ValueError(f"{path}, {name}: {first_line(error)}") from error
    objective = found.pop(OBJECTIVE, None)
    if not found:
        raise ValueError(f"{path} must name at least one setting with its range.")
    return Space(found, objective)


def _objective(content: Any) -> Cvar:
    if not isinstance(content, dict) or [*content] != ["cvar"]:
        raise ValueError(f"an objective is written as {{cvar: {{suite: quick, alpha: 0.25}}}}, got {content!r}.")
    return _fill(Cvar, content["cvar"])


def _fill(cls: type[Filled], content: Any) -> Filled:
    """Make settings of what a file holds; a ValueError of one sentence where names or types are wrong."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls)
    if not isinstance(content, dict):
        raise ValueError(f"it must hold settings by name, got {content!r}.")
    try:
        return cls(**vars(parser.parse_object(content)))
    except ArgumentError as error:
        raise ValueError(one_sentence(str(error), [action.dest for action in parser._actions], [])) from error


def readable(values: Mapping[str, Any]) -> str:
    """Lay values out for a person, by the last part of their names.

    Example:
        >>> readable({"model.init_args.learner.gamma": 0.98765, "data.init_args.num_steps": 64})
        'gamma 0.988, num_steps 64'
    """
    numbers = {name.rpartition(".")[2]: value for name, value in values.items()}
    texts = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in numbers.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())


def plain(space: Mapping[str, Range], values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the values of a trial as Optuna holds them into those of a configuration."""
    return {name: json.loads(value) if space[name].choices is not None else value for name, value in values.items()}
