"""What is known of a shipped policy: how it was trained, why this seed, and its row of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rrl.shipped import shipped_policies

WORLDS = ("env_kwargs", "wrappers", "pushes", "physics", "curriculum", "adversary", "force_limit", "random_actions")
"""Settings of the data that change the worlds of a training."""
COLUMNS = ("policy", "method, seed", "steps", "nominal", "mean over cells", "CVaR10", "strongest attack", "falls, %")
RULE = "the seed whose mean over the cells is the median of its method's"


@dataclass(frozen=True)
class Card:
    """The facts about a policy. Returns are means over episodes, in the units of the reward."""

    method: str
    env_id: str
    seed: int
    """Seed of its training, chosen by ``RULE``."""
    seeds: int
    """Number of seeds that its method was trained with."""
    steps: int
    """Real environment steps of its training."""
    command: str
    """Command that trains it."""
    worlds: str
    """In which worlds, in words."""
    report: str
    """Folder of the report that the numbers come from."""
    nominal: float
    """Return in the unchanged world."""
    mean: float
    """Return over all perturbed cells."""
    cvar10: float
    """Return over the worst tenth of them."""
    worst: float
    """Return in the worst one."""
    worst_cell: str
    failures: float
    """Share of the episodes in perturbed cells that ended in a failure, in percent."""
    attack: float
    """Return under the strongest attack."""
    strongest_attack: str

    def row(self, name: str) -> list[str]:
        """Return the cells of its row, see ``COLUMNS``."""
        numbers = [f"{value:,.0f}" for value in (self.nominal, self.mean, self.cvar10, self.attack, self.failures)]
        return [f"`zoo:{name}`", f"{self.method}, {self.seed}", f"{self.steps:,}", *numbers]

    def text(self, name: str) -> str:
        """Write everything down, a line a fact."""
        lines = {
            f"zoo:{name}": f"{self.method} on {self.env_id}",
            "file": shipped_policies()[name],
            "trained by": self.command,
            "in worlds": self.worlds,
            "seed": f"{self.seed} of {self.seeds}: {RULE}",
            "unchanged world": f"{self.nominal:,.0f}",
            "mean over cells": f"{self.mean:,.0f}; worst tenth {self.cvar10:,.0f}; {self.failures:.0f} % fall",
            "worst cell": f"{self.worst:,.0f} ({self.worst_cell})",
            "strongest attack": f"{self.attack:,.0f} ({self.strongest_attack})",
            "report": self.report,
        }
        width = max(map(len, lines))
        return "\n".join(f"{key:<{width}}  {value}" for key, value in lines.items())


def read_cards() -> dict[str, Card]:
    """Read the cards of all shipped policies, by name."""
    files = {name: path.with_suffix(".json") for name, path in shipped_policies().items()}
    return {name: Card(**json.loads(path.read_text(encoding="utf-8"))) for name, path in files.items()}


def write_card(card: Card, path: Path) -> None:
    """Write a card."""
    path.write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")


def table(cards: Mapping[str, Card]) -> str:
    """Lay cards out as a Markdown table, which a terminal shows well too."""
    rows = [COLUMNS, *(card.row(name) for name, card in cards.items())]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def worlds_in_words(settings: Mapping[str, Any]) -> str:
    """Say how the worlds of a training differed from the task's, by the settings of its data.

    Example:
        >>> worlds_in_words({"num_envs": 16, "pushes": {"force_std": 10.0}, "physics": {"mass": (0.7, 1.3)}})
        'pushes (force_std 10.0), physics (mass 0.7 to 1.3)'
        >>> worlds_in_words({"pushes": None, "random_actions": 0.0})
        'unchanged'
    """
    return ", ".join(f"{name} {_in_words(settings[name])}" for name in WORLDS if settings.get(name)) or "unchanged"


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_in_words(item)}' for name, item in value.items() if item is not None)})"
    if isinstance(value, (list, tuple)):
        return (" to " if len(value) == 2 else " ").join(map(_in_words, value))
    return str(value)
