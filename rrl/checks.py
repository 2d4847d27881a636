"""What settings must satisfy; each check takes values by name.

A value that does not is a ValueError of one sentence that names the setting, what was expected and what came.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def require_at_least(minimum: int, **values: int | None) -> None:
    """Refuse counts that are too small; None, where a setting may be absent, passes.

    Example:
        >>> require_at_least(1, epochs=0)
        Traceback (most recent call last):
        ...
        ValueError: `epochs` must be at least 1, got 0.
    """
    for name, value in values.items():
        if value is not None and not (_is_number(value) and value >= minimum):
            raise ValueError(f"`{name}` must be at least {minimum}, got {value}.")


def require_positive(**values: float) -> None:
    """Refuse numbers that are not positive and finite.

    Example:
        >>> require_positive(max_kl=float("nan"))
        Traceback (most recent call last):
        ...
        ValueError: `max_kl` must be positive, got nan.
    """
    for name, value in values.items():
        if not (_is_number(value) and 0.0 < value < math.inf):
            raise ValueError(f"`{name}` must be positive{' and finite' if value == math.inf else ''}, got {value}.")


def require_not_negative(**values: float) -> None:
    """Refuse numbers that are negative or not finite."""
    for name, value in values.items():
        if not (_is_number(value) and 0.0 <= value < math.inf):
            raise ValueError(f"`{name}` must be at least 0{' and finite' if value == math.inf else ''}, got {value}.")


def require_within(interval: str, **values: float) -> None:
    """Refuse numbers outside of an interval such as ``"(0, 1]"``: a round bracket leaves the end out.

    Example:
        >>> require_within("(0, 1]", alpha=0.0)
        Traceback (most recent call last):
        ...
        ValueError: `alpha` must lie in (0, 1], got 0.0.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    for name, value in values.items():
        if not _is_number(value):
            raise ValueError(f"`{name}` must be a number in {interval}, got {value}.")
        above = low < value or (interval[0] == "[" and value == low)
        below = value < high or (interval[-1] == "]" and value == high)
        if not (above and below):
            raise ValueError(f"`{name}` must lie in {interval}, got {value}.")


def require_one_of(choices: Collection[str], **values: str) -> None:
    """Refuse words that are not among the choices."""
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f"`{name}` must be one of {list(choices)}, got {value!r}.")


def require_tensor(dtype: str, shape: Sequence[int], **values: Tensor) -> None:
    """Refuse tensors of another type, such as ``"bool"``, or of another shape."""
    for name, value in values.items():
        if str(value.dtype) != f"torch.{dtype}" or list(value.shape) != list(shape):
            kind, got = "boolean" if dtype == "bool" else dtype, f"{value.dtype} {list(value.shape)}"
            raise ValueError(f"`{name}` must be {kind} with shape {list(shape)}, got {got}.")


def _is_number(value: Any) -> bool:
    """Tell numbers from what a file may hold in their place."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def suggestion(name: str, known: Collection[str]) -> str:
    """End a complaint about an unknown name with the nearest known name, if one is near it, its first part or a part.

    Example:
        >>> "There is no suite 'quik'" + suggestion("quik", ["quick", "rrls"])
        "There is no suite 'quik'; did you mean 'quick'?"
    """
    near = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(name.partition(".")[0], known, n=1)
    near = near or [each for each in known if each.startswith(f"{name}_") or each.endswith(f".{name}")]
    return f"; did you mean '{near[0]}'?" if near else "."


def near_file(path: str | os.PathLike[str]) -> str:
    """End a complaint about a missing file with the nearest file or folder that is there, if one is near."""
    missing = Path(path)
    while not missing.parent.is_dir():
        missing = missing.parent
    try:
        return near_path(missing, [str(each) for each in missing.parent.iterdir()])
    except OSError:  # a folder that may not be listed
        return "."


def near_path(path: Path, known: Collection[str]) -> str:
    """End a complaint about a missing file with the known one whose name without ending is nearest, if one is near.

    Example:
        >>> near_path(Path("conf/smok.yaml"), ["conf/toy.yaml", "conf/smoke.yaml"])
        "; did you mean 'conf/smoke.yaml'?"
    """
    stems = {Path(name).stem: name for name in known}
    near = difflib.get_close_matches(path.stem, stems, n=1)
    return f"; did you mean '{stems[near[0]]}'?" if near else "."


def on_one_line(message: str) -> str:
    r"""Take the line breaks out of a sentence that may quote what a file holds.

    Example:
        >>> on_one_line("got 'two\n  lines'.")
        "got 'two lines'."
    """
    return re.sub(r"\s*\n\s*", " ", message)


def has_types(value: Any, types: Mapping[str, Any]) -> bool:
    """Tell whether a value is a dictionary that holds entries of these types.

    Example:
        >>> has_types({"run_name": 3}, {"run_name": str})
        False
    """
    return isinstance(value, dict) and all(name in value and isinstance(value[name], types[name]) for name in types)


def kind_of(error: Exception) -> str:
    """Name an error with the first line of what it says.

    Example:
        >>> kind_of(KeyError("a")), kind_of(AssertionError())
        ("KeyError: 'a'", 'AssertionError')
    """
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
