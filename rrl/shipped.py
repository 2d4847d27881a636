"""The files that come with the package: ``conf`` of the checkout, which a wheel carries as ``rrl/conf``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

CONF = next(path for path in (Path(__file__).parent / "conf", Path(__file__).parent.parent / "conf") if path.is_dir())
"""Folder of the shipped configurations, suites and studies."""
POLICIES = Path(__file__).parent / "zoo" / "policies"
"""Folder of the shipped policies: ``<task>/<method>.ckpt``, with a card ``<task>/<method>.json`` beside each."""


def shipped_policies() -> dict[str, Path]:
    """Find the checkpoints of the shipped policies by name, such as ``hopper/adrrl``."""
    files = sorted(POLICIES.glob("*/*.ckpt"))
    return {path.relative_to(POLICIES).with_suffix("").as_posix(): path for path in files}


def with_shipped(args: Sequence[str]) -> list[str]:
    """Let ``--config conf/NAME`` mean the shipped file where the working folder has none of that name."""
    found = list(args)
    for place, argument in enumerate(found):
        name, equals, value = argument.partition("=")
        if name != "--config":
            continue
        if equals:
            found[place] = f"{name}={shipped_file(value)}"
        elif place + 1 < len(found):
            found[place + 1] = str(shipped_file(found[place + 1]))
    return found


def shipped_file(path: str | Path) -> Path:
    """Return the shipped file where ``conf/NAME`` is not in the working folder; any other path as it is."""
    parts = Path(path).parts
    file = CONF.joinpath(*parts[1:])
    is_ours = parts[:1] == ("conf",) and ".." not in parts and not Path(path).exists() and file.is_file()
    return file if is_ours else Path(path)


def shipped_configurations() -> list[str]:
    """List all files of ``conf`` by the name under which ``--config`` finds them."""
    return [str(Path("conf", path.relative_to(CONF))) for path in sorted(CONF.rglob("*.yaml"))]


def list_configurations() -> str:
    """List the shipped configurations of trainings, with what their first line says of how long they take."""
    lines = []
    for path in sorted(CONF.glob("*.yaml")):
        if path.name == "defaults.yaml":
            continue
        first = path.read_text(encoding="utf-8").splitlines()[0]
        note = re.search(r"\((.*)\)\s*$", first)
        lines.append(f"conf/{path.name:<44} {note[1] if note else ''}".rstrip())
    return "\n".join(lines)
