"""Bad input, said in one sentence: the parser's own messages bury the useful line among all that a value might be."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import re
from collections.abc import Collection, Iterator
from typing import Any, get_args, get_type_hints

from rrl.checks import suggestion
from rrl.configuration import OWN

UNKNOWN_SETTING = r"(?:Group '([\w.]+)' does not accept option|Option|unrecognized arguments:) '?(?:--)?([^'=\s]+)"
UNKNOWN_CLASS = r"(?:has no attribute|No module named|import path string:|import path format:) ?'?([^'\n]*)"
FORBIDDEN = r"Importing '([^']+)' is not allowed"
REQUIRED = r"the following arguments are required: (.+)"
WRONG_VALUE = (
    r"(?:Expected a|Not a valid subclass of) ((?:<class '[\w.]+'>|typing\.Literal\[.*?\]|tuple with \d+ elements|\w+))"
    r"\.? Got value: ?(.*)"
)
WRONG_UNION = r"Subtypes: [\[(](.*)[\])]\n(?:.*\n)*?\s*Given value: ?(.*)"
NO_GROUP = r"Parser key \"([\w.]+)\":\s+Unable to load config '(.*)'"
PLACE = r'Parser key "([^"]+)":'
CLASS = r"Problem with given class_path '([^']+)':"
NOISE = (
    r"Does not validate against|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>"
    r"|Subclass types expect|a class path|a dict"
)
"""Lines of the parser's messages that only say where the next one belongs, or what else there might have been."""


@dataclasses.dataclass
class Line:
    """A line of a message, and those beneath it."""

    text: str
    beneath: list[Line] = dataclasses.field(default_factory=list)

    def written(self) -> Iterator[str]:
        """Return this line and all beneath it."""
        yield self.text
        for line in self.beneath:
            yield from line.written()


def read_lines(message: str) -> Line:
    r"""Read a message as a tree of lines, by their indentation.

    Example:
        >>> read_lines("a:\n  - b:\n      c\nd").beneath[0].beneath[0].text
        'b:'
    """
    root = Line("")
    open_lines = [(-1, root)]
    for text in filter(str.strip, message.splitlines()):
        content = text.strip().removeprefix("- ")
        indentation = len(text) - len(text.lstrip())
        while open_lines[-1][0] >= indentation:
            open_lines.pop()
        line = Line(content)
        open_lines[-1][1].beneath.append(line)
        open_lines.append((indentation, line))
    return root


def innermost(line: Line, place: tuple[str, ...] = (), given: str = "") -> tuple[Line, str, str]:
    """Follow a message to where the mistake is; return what is said there, of which setting, in which class.

    Where there is a choice of classes, the one counts that knows all the names.
    """
    if found := re.fullmatch(PLACE, line.text):
        place = (*place, found[1]) if found[1] != "config" else place
    if found := re.fullmatch(CLASS, line.text):
        given = found[1]
    deeper = [each for each in _places(line) if re.search(PLACE, "\n".join(each.written()))]
    if deeper:
        return innermost(deeper[0], place, given)
    classes = [each for each in _places(line) if re.fullmatch(CLASS, each.text)]
    return innermost(classes[0], place, given) if len(classes) == 1 else (line, ".".join(place), given)


def _places(line: Line) -> list[Line]:
    """List the nearest lines beneath one that name a setting or a class."""
    found = []
    for each in line.beneath:
        is_place = re.fullmatch(PLACE, each.text) or re.fullmatch(CLASS, each.text)
        found += [each] if is_place else _places(each)
    return found


def one_sentence(message: str, keys: Collection[str], class_names: Collection[str]) -> str:
    """Turn the parser's message into one line: the setting, the value if any, the nearest key or class that exists."""
    line, place, given = innermost(read_lines(message))
    said = "\n".join(line.written())
    if found := re.search(NO_GROUP, message):
        return f"`{found[1]}` must hold settings by name, got {found[2]}."
    if found := re.search(FORBIDDEN, said):
        return _forbidden(found[1], class_names)
    if found := re.search(UNKNOWN_SETTING, said):
        return _unknown_setting(".".join(filter(None, found.groups())), said, given, keys)
    if found := re.search(REQUIRED, said):
        names = ", ".join(f"`{name}`" for name in found[1].split(", "))
        return f"{given.rpartition('.')[2] or 'The configuration'} needs a value for {names}."
    if found := re.search(UNKNOWN_CLASS, said):
        return _unknown_class(given if found[1] and found[1] in given else found[1], place, class_names)
    return (place and _wrong_value(said, place)) or _first_line(said, place)


def _forbidden(path: str, class_names: Collection[str]) -> str:
    """Say of a name that may not be imported why, or that there is no such thing."""
    top, _, rest = path.partition(".")
    if importlib.util.find_spec(top) is None:
        return f"There is no class '{path}'{suggestion(rest.rpartition('.')[2], class_names)}"
    return (
        f"`class_path` must name a class of rrl, Lightning or a module of yours, got '{path}'; "
        f"list an installed module in {OWN} to allow it."
    )


def _unknown_setting(name: str, said: str, given: str, keys: Collection[str]) -> str:
    """Say of a name that no setting has it; where there is a choice of classes, none of them."""
    paths = re.findall(rf"{CLASS}\s+Option '{re.escape(name)}'", said) or [given]
    if name.endswith((".yaml", ".yml")):
        return f"A configuration is given as `--config {name}`."
    if not any(paths):
        return f"There is no setting '{name}'{suggestion(name, keys)}"
    classes = " or ".join(dict.fromkeys(path.rpartition(".")[2] for path in paths))
    return f"{classes} has no setting '{name}'{suggestion(name, [key for path in paths for key in _settings(path)])}"


def _unknown_class(path: str, place: str, class_names: Collection[str]) -> str:
    """Say of a name that no class has it, or one of another kind."""
    name = path.rpartition(".")[2]
    if not path.strip():
        return f"`{place or 'class_path'}` must name a class, got '{path}'."
    if name in class_names:
        return f"`{place}` takes another kind of class than '{path}'."
    return f"There is no class '{path}'{suggestion(name, class_names)}"


def _wrong_value(said: str, place: str) -> str | None:
    """Explain a value of the wrong type."""
    found = re.search(WRONG_VALUE, said) or re.search(WRONG_UNION, said)
    if not found:
        return None
    choices = re.fullmatch(r"typing\.Literal\[(.*)\]", found[1])
    wanted = f"one of {choices[1]}" if choices else _types(found[1])
    path = re.match(r"\{.*?'class_path': ('[^']*')", found[2])  # settings of another kind of class
    got = path[1] if path else found[2].strip() or repr("")
    if got == "None" and "null" in wanted:  # the parser reads it in files, and on the command line not in every group
        return f"`{place}` can be set to null only in a file: write it there and give the file by `--config`."
    return f"`{place}` must be {wanted}, got {got}."


def _types(written: str) -> str:
    """Name types as a person would.

    Example:
        >>> _types("collections.abc.Sequence[float], typing.Literal['warn'], <class 'NoneType'>")
        "list or 'warn' or null"
    """
    written = re.sub(r"typing\.Literal\[(.*?)\]", r"\1", written)
    while re.search(r"\[[^\[\]]*\]", written):
        written = re.sub(r"\[[^\[\]]*\]", "", written)
    names = [re.sub(r"<class '([\w.]+)'>", r"\1", name).rpartition(".")[2] for name in written.split(", ")]
    plain = {"NoneType": "null", "Sequence": "list", "Mapping": "dict"}
    return " or ".join(dict.fromkeys(plain.get(name, name) for name in names))


def _first_line(said: str, place: str) -> str:
    """Pick the first line that says more than which alternatives there were."""
    lines = [line for line in said.splitlines() if line and not re.match(f"{NOISE}|{PLACE}|{CLASS}", line)]
    line = re.sub(r"^Call to compute_fn of link .* failed: ", "", lines[0] if lines else " ".join(said.split()))
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
