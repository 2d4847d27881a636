"""Turns what docstrings say in reStructuredText, roles and formulas, into Markdown for the page of the API."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe
from latex2mathml.converter import convert

ROLE = re.compile(r":(?:class|func|meth|mod):`~?([^`]+)`")
FORMULA = re.compile(r"^\.\. math::[ ]*\n((?:\n|[ ]{4}.*\n?)+)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object, if it has one."""
        if obj.docstring is not None:
            text = ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", obj.docstring.value)
            obj.docstring.value = FORMULA.sub(_mathml, text)


def _mathml(found: re.Match[str]) -> str:
    return f"{convert(textwrap.dedent(found[1]).strip(), display='block')}\n\n"
