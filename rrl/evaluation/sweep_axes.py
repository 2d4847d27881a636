"""Axes of sweeps: which values a parameter takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrl.evaluation.conditions import Parameter

_RULES = {"values": set(), "count": {"low", "high", "endpoint"}, "step": {"low", "high", "endpoint"}}


def axis_values(axis: Mapping[str, Any]) -> tuple[str, list[float]]:
    """Read an axis of a suite file.

    The values are one of: ``values``, a list; ``low``, ``high`` and ``count``, evenly spaced; ``low``, ``high`` and
    ``step``. ``endpoint: false`` leaves ``high`` out. ``divide_by`` turns published absolute values into factors of
    the nominal value with which they were published.

    Args:
        axis: Its content.

    Returns:
        Text of the parameter, values.

    Raises:
        ValueError: If there is no such parameter, rule or key, or no value, or one that is not finite.

    Example:
        >>> axis_values({"parameter": "mass", "low": 0.5, "high": 1.5, "count": 3})
        ('mass', [0.5, 1.0, 1.5])
    """
    text = axis.get("parameter")
    if not isinstance(text, str):
        raise ValueError(f"an axis needs a `parameter`, got {dict(axis)}.")
    Parameter.parse(text)
    divisor = _number(text, axis, "divide_by", 1.0)
    if divisor == 0.0:
        raise ValueError(f"`divide_by` of the axis {text!r} must not be 0.")
    values = _values(text, axis) / divisor
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"the axis {text!r} needs finite values, got {values.tolist()}.")
    # Rounding makes 0.9500000000000001 and 0.95 one value, in tables as well as in the worlds.
    return text, [float(value) for value in np.round(values, 10)]


def _values(text: str, axis: Mapping[str, Any]) -> NDArray[np.float64]:
    rules = [rule for rule in _RULES if rule in axis]
    if len(rules) != 1:
        raise ValueError(f"the axis {text!r} needs one of `values`, `count` and `step`, got {rules}.")
    known = {"parameter", "divide_by", rules[0]} | _RULES[rules[0]]
    unknown = sorted(set(axis) - known)
    if unknown:
        raise ValueError(f"the axis {text!r} may hold {sorted(known)}, got {unknown}.")
    if rules == ["values"]:
        return _listed(text, axis["values"])
    low, high = _number(text, axis, "low"), _number(text, axis, "high")
    if not low <= high:
        raise ValueError(f"the axis {text!r} needs low <= high, got {low} and {high}.")
    endpoint = bool(axis.get("endpoint", True))
    if rules == ["count"]:
        count = axis["count"]
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"`count` of the axis {text!r} must be a positive whole number, got {count!r}.")
        return np.linspace(low, high, count, endpoint=endpoint)
    step = _number(text, axis, "step")
    if not step > 0.0:
        raise ValueError(f"the axis {text!r} needs a positive step, got {step}.")
    # What is within rounding of the end is the end.
    values: NDArray[np.float64] = low + step * np.arange(np.floor((high - low) / step + 1e-9) + 1)
    return values if endpoint else values[values < high - 1e-9 * step]


def _listed(text: str, values: Any) -> NDArray[np.float64]:
    if not isinstance(values, list) or any(isinstance(x, bool) or not isinstance(x, int | float) for x in values):
        raise ValueError(f"the axis {text!r} needs a list of numbers as `values`, got {values!r}.")
    return np.array(values, dtype=np.float64)


def _number(text: str, axis: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = axis.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{key}` of the axis {text!r} must be a number, got {value!r}.")
    return float(value)
