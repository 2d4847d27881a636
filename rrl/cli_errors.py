"""Bad input, said in one sentence.

The parser's own messages are precise but buried: usage, then a list of everything that a value might have been. Here
the one useful line is found, put in terms of the configuration file, and completed with the nearest name that exists.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import yaml

STRUCTURE = (
    r"Parser key|Does not validate against|Subtypes:|Errors:|Given value|Problem with given class_path"
    r"|Expected a <class 'NoneType'>"
)
"""Lines of the parser's messages that only say where the next one belongs."""


class ConfigurationError(ValueError):
    """Input that cannot be run; the message is one line for the user."""


def one_sentence(message: str, keys: Collection[str], class_names: Collection[str]) -> str:
    """Say what is wrong with a configuration.

    Args:
        message: What the parser said.
        keys: Dotted names of the settings that exist.
        class_names: Short names of the classes that a ``class_path`` may hold.

    Returns:
        One line that names the setting, the value where there is one, and the nearest name that exists.

    Example:
        >>> one_sentence("unrecognized arguments: --trainer.max_epoch 3", ["trainer.max_epochs"], [])
        "There is no setting 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"
        >>> one_sentence("Group 'trainer' does not accept option 'max_epoch'", ["trainer.max_epochs"], [])
        "There is no setting 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"
    """
    explanations: list[tuple[str, Callable[[re.Match[str]], str]]] = [
        (r"Option '([^']+)' is not accepted", lambda found: _unknown_option(message, found[1])),
        (
            r"Group '([^']+)' does not accept option '([^']+)'",
            lambda found: _unknown_key(f"{found[1]}.{found[2]}", keys),
        ),
        (
            r"given class_path '[^']+':\s+unrecognized arguments: --([^=\s]+)",
            lambda found: _unknown_option(message, found[1]),
        ),
        (
            r"given class_path '[\w.]*?(\w+)':\s+the following arguments are required: (.+)",
            lambda found: f"{found[1]} needs a value for {found[2]}.",
        ),
        (r"unrecognized arguments: (?:--)?([^=\s]+)", lambda found: _unknown_key(found[1], keys)),
        (r"module '[\w.]+' has no attribute '(\w+)'", lambda found: _unknown_class(found[1], class_names)),
        (r"No module named '([\w.]+)'", lambda found: _unknown_class(_given_class(message), class_names)),
        (r"Expected a dot import path string: (\S+)", lambda found: _unknown_class(found[1], class_names)),
        (r"compute_fn of link .* failed: (.*)", lambda found: found[1]),
        (r'Parser key "config": (.*)', lambda found: f"{found[1]}."),
    ]
    for pattern, explain in explanations:
        if found := re.search(pattern, message):
            return explain(found)
    return _wrong_value(message) or _innermost_error(message)


def given_keys(args: list[str]) -> set[str]:
    """List the settings that the user has given, on the command line or in a file.

    Args:
        args: Command line arguments.

    Returns:
        Dotted names without ``init_args``, as ``model.gamma``. Files that cannot be read are left to the parser.
    """
    keys: set[str] = set()
    for position, argument in enumerate(args):
        name, equals, value = argument.partition("=")
        if name in {"--config", "-c"}:
            value = value if equals else next(iter(args[position + 1 :]), "")
            keys |= _keys_of_file(Path(value))
        elif name.startswith("--"):
            keys.add(name[2:])
    return {key.replace("init_args.", "") for key in keys}


def suggestion(name: str, known: Collection[str]) -> str:
    """Complete a complaint about an unknown name.

    Args:
        name: The unknown name.
        known: Names that exist.

    Returns:
        The end of the sentence, with the nearest name if one is near.

    Example:
        >>> suggestion("gama", ["gamma", "alpha"])
        "; did you mean 'gamma'?"
        >>> suggestion("xyz", ["gamma", "alpha"])
        '.'
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else "."


def _unknown_key(name: str, keys: Collection[str]) -> str:
    return f"There is no setting '{name}'{suggestion(name, keys)}"


def _unknown_option(message: str, name: str) -> str:
    class_path = _given_class(message)
    return f"{class_path.rpartition('.')[2]} has no setting '{name}'{suggestion(name, _parameters(class_path))}"


def _unknown_class(name: str, class_names: Collection[str]) -> str:
    return f"There is no class '{name}'{suggestion(name.rpartition('.')[2], class_names)}"


def _wrong_value(message: str) -> str | None:
    """Explain a value of the wrong type."""
    keys = re.findall(r'Parser key "([^"]+)"', message)
    if not keys:
        return None
    direct = re.search(
        r"Expected a (?:<class '(?:[\w.]*\.)?(?P<type>\w+)'>|typing\.Literal\[(?P<choices>.*)\])\. Got value: (.*)",
        message,
    )
    if direct:
        wanted = direct["type"] or f"one of {direct['choices']}"
        return f"`{'.'.join(keys)}` must be {wanted}, got {direct[3]}."
    union = re.search(r"Subtypes: [\[(](.*)[\])]", message)
    value = re.search(r"Given value: (.*)", message)
    if not (union and value) or "class_path" in message:
        return None
    kinds = [re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", kind) for kind in union[1].split(", ")]
    wanted = " or ".join("null" if kind == "NoneType" else kind for kind in kinds)
    return f"`{'.'.join(keys)}` must be {wanted}, got {value[1]}."


def _innermost_error(message: str) -> str:
    """Pick the first line that says more than which alternatives there were."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    telling = [line for line in lines if line and not re.match(STRUCTURE, line)]
    return telling[0] if telling else " ".join(message.split())


def _given_class(message: str) -> str:
    found = re.findall(r"given class_path '([^']+)'", message)
    return found[-1] if found else ""


def _parameters(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    try:
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError):
        return []


def _keys_of_file(path: Path) -> set[str]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return set()
    return set(_dotted(content, ""))


def _dotted(content: Any, prefix: str) -> list[str]:
    if not isinstance(content, dict):
        return [prefix.rstrip(".")]
    return [key for name, value in content.items() for key in _dotted(value, f"{prefix}{name}.")]
