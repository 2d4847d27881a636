"""Settings as plain types and back, and which modules a file may name: no stranger's file runs a stranger's code."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

from rrl.spaces import Spaces

LIBRARIES = (
    *(f"rrl.{part}" for part in ("a2c", "algorithms", "checkpoints", "data", "diffusion", "envs", "interrupts")),
    *(f"rrl.{part}" for part in ("policies", "progress", "risk", "rollout", "tracking", "trpo")),
    *(f"rrl.evaluation.{part}" for part in ("attacks", "cells", "training")),
    "rrl.study.settings",
    *(f"lightning.pytorch.{part}" for part in ("accelerators", "callbacks", "demos", "loggers", "plugins")),
    *(f"lightning.pytorch.{part}" for part in ("profilers", "strategies")),
    *(f"lightning.fabric.{part}" for part in ("accelerators", "plugins", "strategies")),
    *("torch.nn", "torch.optim", "torchmetrics", "gymnasium.spaces", "gymnasium.wrappers"),
)
"""What a configuration may name beside the user's own modules: no whole packages, some of whose functions run files."""
OWN = "RRL_MODULES"
"""Environment variable that lists modules, with commas, that configurations and checkpoints may name too."""

PLAIN = (type(None), bool, int, float, str, list, dict)
"""Types of values in a file."""


class UnknownClassError(ValueError):
    """A stored class that is not one of this package, nor of a module that the user has imported or listed."""


def class_path(cls: type) -> str:
    """Name a class so that `find_class` finds it again."""
    return f"{cls.__module__}.{cls.__qualname__}"


def find_class(path: str) -> type:
    """Find a class by its name; no module is imported that the user has not listed in ``RRL_MODULES``.

    Raises:
        UnknownClassError: If it is not there, or in a module that is neither of this package, imported nor listed.
    """
    module_name, _, name = path.rpartition(".")
    top = module_name.partition(".")[0]
    if top != "rrl" and module_name not in sys.modules and top not in listed_modules():
        raise UnknownClassError(
            f"a {path}; only classes of rrl, of imported modules and of those listed in {OWN} are loaded"
        )
    try:
        found = getattr(import_module(module_name), name)
    except Exception as error:  # a listed module runs as it is imported, so anything can happen
        raise UnknownClassError(f"a {path}, which cannot be found ({type(error).__name__}: {error})") from error
    if not isinstance(found, type):
        raise UnknownClassError(f"a {path}, which is no class")
    return found


def listed_modules() -> set[str]:
    """Name the modules that the user has listed in ``RRL_MODULES``."""
    return {name.strip() for name in os.environ.get(OWN, "").split(",")} - {""}


def list_modules(names: Iterable[str]) -> None:
    """Add modules to ``RRL_MODULES``, for this process and those that it begins."""
    tops = {name.partition(".")[0] for name in names}
    if tops:
        os.environ[OWN] = ",".join(sorted(listed_modules() | tops))


def named_modules(plain: Any) -> set[str]:
    """Name the modules, other than this package's, of the classes that plain settings name by ``class_path``.

    Example:
        >>> named_modules({"model": {"class_path": "mine.TRPO", "init_args": {"game": {"class_path": "rrl.a2c.A2C"}}}})
        {'mine'}
    """
    if isinstance(plain, list):
        return set().union(*map(named_modules, plain))
    if not isinstance(plain, Mapping):
        return set()
    path = plain.get("class_path")
    module = path.rpartition(".")[0] if isinstance(path, str) else ""
    found = {module} if module and module.partition(".")[0] != "rrl" else set()
    return found.union(*map(named_modules, plain.values()))


def own_modules() -> set[str]:
    """Name the user's own modules: those in the folders of ``sys.path`` that are not installed, and in ``RRL_MODULES``.

    Whoever sends a configuration cannot add to them.
    """
    standard = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    found = listed_modules()
    for folder in {Path(entry).resolve() for entry in sys.path if Path(entry).is_dir()}:
        is_installed = {"site-packages", "dist-packages"} & {*folder.parts}
        if not is_installed and not any(folder.is_relative_to(path) for path in standard):
            names = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
            found |= {name for name in names if name.isidentifier() and _lies_in(folder, name)}
    return found - {"", "rrl", "jsonargparse", *sys.stdlib_module_names}


def _lies_in(folder: Path, name: str) -> bool:
    """Tell whether a module of this name would be imported from a folder, without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # ValueError: a module that was made by hand
        return False
    places = (spec.submodule_search_locations or [spec.origin or ""]) if spec else []
    return any(Path(place).parent.resolve() == folder for place in places)


def to_plain(value: Any) -> Any:
    """Turn settings, nested in any way, into plain types: each object into ``{"class_path": ..., "init_args": ...}``.

    Raises:
        TypeError: If something is neither a dataclass, `Spaces`, a sequence, a mapping nor a plain type.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [to_plain(item) for item in value]
    if isinstance(value, Spaces):
        settings = vars(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        settings = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    else:
        raise TypeError(f"settings must consist of plain types and dataclasses, got {value!r}.")
    return {"class_path": class_path(type(value)), "init_args": to_plain(settings)}


def from_plain(plain: Any) -> Any:
    """Rebuild what `to_plain` was given, with lists in place of other sequences.

    Raises:
        UnknownClassError: If a class is not known here.
        TypeError: If something is no plain type, or a class is none for settings or takes other arguments today.
        ValueError: If a value is not admissible today.
    """
    if isinstance(plain, list):
        return [from_plain(item) for item in plain]
    if plain is None or isinstance(plain, (bool, int, float, str)):
        return plain
    if not isinstance(plain, dict):
        raise TypeError(f"settings must consist of plain types, got a {type(plain).__name__}.")
    if plain.keys() != {"class_path", "init_args"}:
        return {key: from_plain(item) for key, item in plain.items()}
    cls = find_class(plain["class_path"])
    if not (cls is Spaces or dataclasses.is_dataclass(cls)):
        raise TypeError(f"{plain['class_path']} is no class for settings.")
    return cls(**from_plain(plain["init_args"]))


def require_settings(cls: type, settings: Mapping[str, Any]) -> None:
    """Raise TypeError if a plain value stands where a class takes an object; it might only notice when that is used.

    Example:
        >>> class Run:
        ...     def __init__(self, spaces: Spaces, seed: int | None = None): ...
        >>> require_settings(Run, {"spaces": 0.5})
        Traceback (most recent call last):
        TypeError: `spaces` must be a Spaces, got 0.5.
    """
    try:
        hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    except NameError:  # of a class that imports its hints for type checkers alone
        return
    for name in settings.keys() & hints.keys():
        kinds = [kind for kind in get_args(hints[name]) or (hints[name],) if isinstance(kind, type)]
        objects = [kind.__name__ for kind in kinds if kind.__module__ not in {"builtins", "types"}]
        value = settings[name]
        if objects and isinstance(value, PLAIN) and type(value) not in kinds:
            raise TypeError(f"`{name}` must be a {' or '.join(objects)}, got {value!r}.")
