"""Bad input that is found in the files of a configuration, and in what the parser has made of them."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import Namespace, set_parsing_settings
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from rrl.checks import near_file, near_path, on_one_line
from rrl.configuration import LIBRARIES, own_modules
from rrl.shipped import shipped_configurations
from rrl.spaces import Spaces


class ConfigurationError(ValueError):
    """Input that cannot be run; the message is one line for the user."""

    def __init__(self, message: str) -> None:
        super().__init__(on_one_line(message))


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
    """Refuse null where a setting needs a value, and values where there are settings by name; the parser does not.

    What is expected is read from the type hints of a section.
    """
    for name, item in vars(value).items():
        kinds = get_args(hints.get(name)) or (hints.get(name),)
        inner = f"{place}.{name}".lstrip(".")
        if item is None and name in hints and not {type(None), None, Any, Spaces} & {*kinds}:  # spaces are linked
            raise ConfigurationError(f"`{inner}` must be given a value, got null.")
        if not isinstance(item, Namespace):
            if item is not None and kinds and all(map(_is_group, kinds)):
                raise ConfigurationError(f"`{inner}` must hold settings by name, got {item!r}.")
            continue
        if isinstance(path := item.get("class_path"), str):
            if isinstance(arguments := item.get("init_args"), Namespace) and path.startswith("rrl."):
                refuse_nulls(arguments, hints_of(pkgutil.resolve_name(path)), inner)
        else:
            known = [hints_of(kind) for kind in kinds if inspect.isclass(kind)]
            refuse_nulls(item, next((each for each in known if {*vars(item)} <= {*each}), {}), inner)


def _is_group(kind: Any) -> bool:
    """Tell whether a type is written down as settings by name."""
    return dataclasses.is_dataclass(kind) or (inspect.isclass(kind) and issubclass(kind, (Callback, Trainer)))


def hints_of(cls: type) -> dict[str, Any]:
    """Return the types of all arguments of a constructor, those that it hands on to its base class included."""
    found: dict[str, Any] = {}
    for kind in reversed(cls.__mro__):
        with contextlib.suppress(NameError, TypeError):
            found |= get_type_hints(vars(kind).get("__init__"))
    return found


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
        except yaml.reader.ReaderError as error:
            line = path.read_text(encoding="utf-8")[: error.position].count("\n") + 1
            raise ConfigurationError(f"Line {line} of {path} is no YAML: {error.reason}.") from error
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


def _dotted(content: Any, prefix: str) -> list[str]:
    if not isinstance(content, dict):
        return [prefix.rstrip(".")]
    return [key for name, value in content.items() for key in _dotted(value, f"{prefix}{name}.")]
