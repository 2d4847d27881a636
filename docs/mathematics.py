"""Turns formulas of the pages into MathML when the site is built, so that it needs no script from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert

CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
BLOCK, INLINE = re.compile(r"\$\$(.+?)\$\$", re.DOTALL), re.compile(r"\\\((.+?)\\\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    r"""Convert ``$$...$$`` and ``\(...\)`` outside of code."""
    parts = CODE.split(markdown)
    parts[::2] = [_convert(text) for text in parts[::2]]
    return "".join(parts)


def _convert(text: str) -> str:
    text = BLOCK.sub(lambda found: convert(found[1].strip(), display="block"), text)
    # The span keeps Markdown from taking a formula at the beginning of a line for a block.
    return INLINE.sub(lambda found: f"<span>{convert(found[1])}</span>", text)
