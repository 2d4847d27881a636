"""Environments and wrappers by name: modules of the user's own are imported, those of a stranger are not."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import gymnasium

from rrl.configuration import OWN, listed_modules, own_modules

Wrappers = Mapping[str, Mapping[str, Any] | None]
"""Wrappers of Gymnasium by class path, the innermost first, with their keywords."""
WRAPPERS = "gymnasium.wrappers"
"""The module whose wrappers may always be named."""


def registered_id(env_id: str) -> str:
    """Return the id under which an environment is registered; of ``module:id`` the module is imported first.

    ValueError if the module is not there, or not one of the user's own (``rrl.configuration.own_modules``).

    Example:
        >>> registered_id("Hopper-v5")
        'Hopper-v5'
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_own(module, f"`env_id` {env_id}")
    return name


def require_registered(env_id: str) -> str:
    """Return what `registered_id` does, and refuse what Gymnasium does not know, with the nearest name."""
    name = registered_id(env_id)
    try:
        gymnasium.spec(name)
    except (gymnasium.error.Error, ValueError) as error:
        close = difflib.get_close_matches(name, gymnasium.registry, n=1)
        module = env_id.rpartition(":")[0]
        hint = f"; did you mean {close[0]!r}?" if close else "." if module else "; one of your own is `module:id`."
        wanted = f"registered by the module {module}" if module else "a registered environment"
        raise ValueError(f"`env_id` must be {wanted}, got {env_id!r}{hint}") from error
    return name


def import_own(module: str, what: str) -> Any:
    """Import a module of the user's own that something names; ValueError if it is another's, or cannot be imported."""
    if module in sys.modules:
        return sys.modules[module]
    top = module.partition(".")[0]
    if top not in own_modules() and _is_there(top):
        raise ValueError(f"{what} must lie in a module of yours; list {top} in {OWN} to allow it.")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"{what} must name a module that can be imported, there is no {error.name}.") from error
        raise ValueError(f"{what}: importing {module} failed ({error}).") from error
    except Exception as error:  # it runs as it is imported, so anything can happen
        raise ValueError(f"{what}: importing {module} failed ({type(error).__name__}: {error}).") from error


def wrap(env: gymnasium.Env[Any, Any], wrappers: Wrappers) -> gymnasium.Env[Any, Any]:
    """Put wrappers around an environment; ValueError names one that there is not or that does not take it."""
    for path, options in wrappers.items():
        cls = _wrapper_class(path)
        try:
            env = cls(env, **(options or {}))
        except Exception as error:  # whatever its author raises
            raise ValueError(f"`wrappers`: {path} failed ({type(error).__name__}: {error}).") from error
    return env


def modules_of(env_id: str, wrappers: Wrappers | None) -> set[str]:
    """Name the modules, beside Gymnasium's own wrappers, that must be imported to make an environment."""
    paths = [path.rpartition(".")[0] for path in wrappers or {}]
    return {name for name in (env_id.rpartition(":")[0], *paths) if name and name != WRAPPERS}


def refuse_unnamed(modules: set[str], path: str | os.PathLike[str]) -> None:
    """Refuse modules that a file names, unless they are imported already or the user has listed them.

    Raises:
        ValueError: If a stranger's file would make the user import something.
    """
    listed = listed_modules()
    for name in sorted(modules):
        if name not in sys.modules and name.partition(".")[0] not in listed:
            raise ValueError(
                f"{path} was trained in an environment of the module {name}, which is imported only if you name it: "
                f"give --env_id, or list {name.partition('.')[0]} in {OWN}."
            )


def _wrapper_class(path: str) -> type[gymnasium.Wrapper[Any, Any, Any, Any]]:
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise ValueError(
            f"`wrappers` must name classes by their path, such as {WRAPPERS}.FlattenObservation, got {path}."
        )
    what = f"`wrappers` {path}"
    module = gymnasium.wrappers if module_name == WRAPPERS else import_own(module_name, what)
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, gymnasium.Wrapper)):
        near = difflib.get_close_matches(name, dir(module), n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"{what} must be a class below gymnasium.Wrapper{hint}")
    return found


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
