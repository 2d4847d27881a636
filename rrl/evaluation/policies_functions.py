"""Policies that a function of the user's makes: ``module:function``, checked before anything is imported."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable

from rrl.checkpoints import CheckpointError
from rrl.checkpoints.loading import ZOO
from rrl.checks import kind_of, suggestion
from rrl.configuration import OWN, own_modules
from rrl.evaluation.episodes import BatchPolicy

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_function(entry: str) -> bool:
    """Tell whether an entry of an evaluation is ``module:function``."""
    return FUNCTION.fullmatch(entry) is not None and not entry.startswith(ZOO)


def require_own(entry: str) -> None:
    """Refuse functions of installed modules, imported or not: the entry may come from a stranger's file."""
    top = entry.partition(":")[0].partition(".")[0]
    if top not in {*own_modules(), "__main__"} and importlib.util.find_spec(top) is not None:
        raise CheckpointError(f"{entry} must be a function of a module of yours; list {top} in {OWN} to allow it.")


def call_function(entry: str) -> BatchPolicy:
    """Import the function of an entry and let it make the policy; CheckpointError if it does not."""
    module_name, _, name = entry.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # it runs as it is imported, so anything can happen
        reason = f"importing the module {module_name} failed ({kind_of(error)})"
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            reason = f"there is no module {error.name}"
        raise CheckpointError(f"{entry} must be an importable module:function, but {reason}.") from error
    if not hasattr(module, name):
        functions = [known for known, item in vars(module).items() if callable(item)]
        reason = f"the module {module_name} has no function {name}{suggestion(name, functions)}"
        raise CheckpointError(f"{entry} must be an importable module:function, but {reason}")
    make: Callable[[], BatchPolicy] = getattr(module, name)
    if not callable(make):
        raise CheckpointError(f"{entry} must be a function that returns the policy, got {type(make).__name__}.")
    try:
        policy = make()
    except Exception as error:  # whatever its author raises
        message = f"{entry} must take no argument and return the policy, but calling it failed ({kind_of(error)})."
        raise CheckpointError(message) from error
    if not callable(policy):
        raise CheckpointError(f"{entry} must return a callable, got {type(policy).__name__}.")
    return policy
