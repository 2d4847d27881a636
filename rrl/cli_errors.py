"""Bad input, said in one sentence: the parser's own messages bury the useful line among all that a value might be."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import Namespace, set_parsing_settings

from rrl.checks import near_file, near_path, suggestion
from rrl.configuration import LIBRARIES, OWN, own_modules
from rrl.shipped import shipped_configurations
from rrl.spaces import Spaces

STRUCTURE = (
    r"Parser key|Does not validate against|Subtypes:|Errors:|Given value|Problem with given class_path"
    r"|Expected a <class 'NoneType'>"
)
"""Lines of the parser's messages that only say where the next one belongs."""
UNKNOWN_SETTING = r"(?:Group '([\w.]+)' does not accept option|Option|unrecognized arguments:) '?(?:--)?([^'=\s]+)"
UNKNOWN_CLASS = r"(?:has no attribute|No module named|import path string:) '?([^'\s]+)"
FORBIDDEN = r"Importing '([^']+)' is not allowed"
WRONG_VALUE = r"Expected a (<class '[\w.]+'>|typing\.Literal\[.*?\])\. Got value: (.*)"
WRONG_UNION = r"Subtypes: [\[(](.*)[\])]\n(?:.*\n)*?\s*Given value: (.*)"


class ConfigurationError(ValueError):
    """Input that cannot be run; the message is one line for the user."""


def restrict_classes() -> None:
    """Let parsers import only what a configuration may name, and make nothing of a ``class_path`` in an ``Any``."""
    allowed = [*LIBRARIES, *sorted(own_modules())]
    set_parsing_settings(
        instantiate_subclass_spec_in_any=False, import_path_denylist=["*"], import_path_allowlist=allowed
    )


def refuse_hidden_classes(value: Any, place: str = "", *, is_plain: bool = False) -> None:
    """Refuse a parsed configuration with a ``class_path`` where no class is expected, or that is no class."""
    if isinstance(value, list):
        for item in value:
            refuse_hidden_classes(item, place, is_plain=is_plain)
    if not isinstance(value, (dict, Namespace)):
        return
    # The parser has made a Namespace of each section and each class, and left the values of an `Any` in mappings.
    is_plain = is_plain or isinstance(value, dict)
    entries = value if isinstance(value, dict) else vars(value)
    if (path := entries.get("class_path")) is not None:
        if is_plain:
            raise ConfigurationError(f"`{place}` takes plain values, not a `class_path`, got '{path}'.")
        if not inspect.isclass(pkgutil.resolve_name(path)):
            raise ConfigurationError(f"`{place}` must be a class, got '{path}'.")
    for name, item in entries.items():
        refuse_hidden_classes(item, place if name == "init_args" else f"{place}.{name}".lstrip("."), is_plain=is_plain)


def refuse_nulls(value: Namespace, hints: Mapping[str, Any], place: str = "") -> None:
    """Refuse null where a setting needs a value, by the type hints of a section; the parser lets it pass."""
    for name, item in vars(value).items():
        kinds = get_args(hints.get(name)) or (hints.get(name),)
        inner = f"{place}.{name}".lstrip(".")
        if item is None and name in hints and not {type(None), None, Any, Spaces} & {*kinds}:  # spaces are linked
            raise ConfigurationError(f"`{inner}` must be given a value, got null.")
        if not isinstance(item, Namespace):
            continue
        if isinstance(path := item.get("class_path"), str):
            if isinstance(arguments := item.get("init_args"), Namespace) and path.startswith("rrl."):
                refuse_nulls(arguments, hints_of(pkgutil.resolve_name(path)), inner)
        else:
            known = [hints_of(kind) for kind in kinds if inspect.isclass(kind)]
            refuse_nulls(item, next((each for each in known if {*vars(item)} <= {*each}), {}), inner)


def hints_of(cls: type) -> dict[str, Any]:
    """Return the types of all arguments of a constructor, those that it hands on to its base class included."""
    found: dict[str, Any] = {}
    for kind in reversed(cls.__mro__):
        with contextlib.suppress(NameError, TypeError):
            found |= get_type_hints(vars(kind).get("__init__"))
    return found


def one_sentence(message: str, keys: Collection[str], class_names: Collection[str]) -> str:
    """Turn the parser's message into one line: the setting, the value if any, the nearest key or class that exists."""
    *_, given = "", *re.findall(r"given class_path '([^']+)'", message)  # the innermost class, if there is one
    class_name = given.rpartition(".")[2]
    if found := re.search(FORBIDDEN, message):
        return _forbidden(found[1], class_names)
    if found := re.search(UNKNOWN_SETTING, message):
        name = ".".join(filter(None, found.groups()))
        if given:
            # Where there is a choice of classes, each of them has refused the name.
            paths = re.findall(rf"given class_path '([^']+)':\s+Option '{re.escape(name)}'", message) or [given]
            classes = " or ".join(dict.fromkeys(path.rpartition(".")[2] for path in paths))
            known = [key for path in paths for key in _settings(path)]
            return f"{classes} has no setting '{name}'{suggestion(name, known)}"
        return f"There is no setting '{name}'{suggestion(name, keys)}"
    if found := re.search(r"the following arguments are required: (.+)", message):
        return f"{class_name or 'The configuration'} needs a value for {found[1]}."
    if found := re.search(UNKNOWN_CLASS, message):
        name = given if found[1] in given else found[1]
        return f"There is no class '{name}'{suggestion(name.rpartition('.')[2], class_names)}"
    place = dict.fromkeys(key for key in re.findall(r'Parser key "([^"]+)"', message) if key != "config")
    return _wrong_value(message, ".".join(place)) or _innermost_error(message, ".".join(place))


def _forbidden(path: str, class_names: Collection[str]) -> str:
    """Say of a name that may not be imported why, or that there is no such thing."""
    top, _, rest = path.partition(".")
    if importlib.util.find_spec(top) is None:
        return f"There is no class '{path}'{suggestion(rest.rpartition('.')[2], class_names)}"
    return (
        f"`class_path` must name a class of rrl, Lightning or a module of yours, got '{path}'; "
        f"list an installed module in {OWN} to allow it."
    )


def check_files(args: Sequence[str]) -> None:
    """Refuse files given as ``--config`` that are no YAML of settings, or that give one twice, with the line."""
    for path in config_files(args):
        try:
            content = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, ValueError) as error:  # ValueError: other encodings, impossible names
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            near = near_configuration(path) if isinstance(error, FileNotFoundError) else "."
            raise ConfigurationError(f"The configuration {path} cannot be read: {reason}{near}") from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigurationError(f"Line {line} of {path} is no YAML: {error.problem}.") from error
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise ConfigurationError(f"{path} is no YAML: {reason}.") from error
        if not isinstance(content, yaml.MappingNode):
            got = "nothing" if content is None else f"a {content.id}"
            raise ConfigurationError(f"{path} must hold settings by name, got {got}.")
        _check_entries(content, path, set())


def near_configuration(path: Path) -> str:
    """End a complaint about a missing configuration with the nearest one, of its folder or else of the shipped ones."""
    near = near_file(path)
    return near_path(path, shipped_configurations()) if near == "." else near


def config_files(args: Sequence[str]) -> list[Path]:
    """List the files given as ``--config``."""
    found = []
    for position, argument in enumerate(args):
        name, equals, value = argument.partition("=")
        if name in {"--config", "-c"}:
            found.append(Path(value if equals else next(iter(args[position + 1 :]), "")))
    return found


def _check_entries(node: yaml.Node, path: Path, done: set[int]) -> None:
    """Refuse an entry that is named twice, of which YAML drops all but the last, and a class that is no name."""
    seen: set[str] = set()
    is_new = id(node) not in done  # aliases lead to nodes that have been seen
    done.add(id(node))
    for child in node.value if is_new and isinstance(node, yaml.CollectionNode) else ():
        if isinstance(child, tuple):
            key, child = child
            line = key.start_mark.line + 1
            if str(key.value) in seen:
                raise ConfigurationError(f"Line {line} of {path} gives `{key.value}` a second time.")
            if key.value == "class_path" and not child.tag.endswith(":str"):
                raise ConfigurationError(f"Line {line} of {path} must name a class as `class_path`.")
            seen.add(str(key.value))
        _check_entries(child, path, done)


def given_keys(args: list[str]) -> set[str]:
    """List dotted names, without ``init_args``, of settings given on the command line or in a file that can be read."""
    keys: set[str] = set()
    for path in config_files(args):
        with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            keys.update(_dotted(yaml.safe_load(path.read_text(encoding="utf-8")), ""))
    keys.update(argument.partition("=")[0][2:] for argument in args if argument.startswith("--"))
    keys.discard("config")
    return {key.replace("init_args.", "") for key in keys}


def _wrong_value(message: str, place: str) -> str | None:
    """Explain a value of the wrong type."""
    found = re.search(WRONG_VALUE, message)
    if not found and "class_path" not in message:
        found = re.search(WRONG_UNION, message)
    if not (found and place):
        return None
    wanted = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", found[1]).replace("NoneType", "null")
    choices = re.fullmatch(r"typing\.Literal\[(.*)\]", wanted)
    wanted = f"one of {choices[1]}" if choices else wanted.replace(", ", " or ")
    return f"`{place}` must be {wanted}, got {found[2]}."


def _innermost_error(message: str, place: str) -> str:
    """Pick the first line that says more than which alternatives there were."""
    lines = [line.strip().removeprefix("- ").removeprefix('Parser key "config": ') for line in message.splitlines()]
    telling = [line for line in lines if line and not re.match(STRUCTURE, line)]
    line = telling[0] if telling else " ".join(message.split())
    line = re.sub(r"^Call to compute_fn of link .* failed: ", "", line)
    return f"`{place}`: {line}" if place and "`" not in line else line


def _settings(class_path: str) -> list[str]:
    """List the dotted settings of a class."""
    module, _, name = class_path.rpartition(".")
    with contextlib.suppress(ImportError, AttributeError, ValueError, NameError):
        return _parameters(getattr(importlib.import_module(module), name))
    return []


def _parameters(cls: Any) -> list[str]:
    hints = get_type_hints(cls.__init__)
    parameters = inspect.signature(cls).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    kinds = [(name, kind) for name in names for kind in get_args(hints.get(name)) or (hints.get(name),)]
    groups = [(name, kind) for name, kind in kinds if dataclasses.is_dataclass(kind)]
    inherited = _parameters(cls.__base__) if len(names) < len(parameters) else []
    return names + inherited + [f"{name}.{inner}" for name, kind in groups for inner in _parameters(kind)]


def _dotted(content: Any, prefix: str) -> list[str]:
    if not isinstance(content, dict):
        return [prefix.rstrip(".")]
    return [key for name, value in content.items() for key in _dotted(value, f"{prefix}{name}.")]
