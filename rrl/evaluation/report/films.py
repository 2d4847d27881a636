"""What is seen rather than measured: each method in the world where they do worst, beside each other."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rrl.evaluation.rows import CellResult


class Scene(NamedTuple):
    """The film of a method, and what to know of it."""

    method: str
    caption: str
    image: bytes
    """A picture that moves, as WebP."""

    @property
    def data_uri(self) -> str:
        """The film itself as an address, so that a page needs no other file."""
        return f"data:image/webp;base64,{base64.b64encode(self.image).decode()}"


@dataclass(frozen=True)
class Films:
    """The same episode of each method, in the same world."""

    cell: str
    scenes: tuple[Scene, ...]


def worst_cell(rows: Sequence[CellResult], cells: Collection[str]) -> str:
    """Return the cell, among some, where the mean return over policies is lowest.

    Raises:
        ValueError: If there is no row of any of them.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.cell in cells:
            found.setdefault(row.cell, []).append(row.return_mean)
    if not found:
        raise ValueError("`rows` must hold a row of one of the cells, got none.")
    return min(found, key=lambda cell: sum(found[cell]) / len(found[cell]))


def caption(total: float, seconds: float, *, failed: bool, mean: float, episodes: int) -> str:
    """Say what an episode came to, beside the mean over all of its policy in that world.

    Example:
        >>> caption(312.4, 1.52, failed=True, mean=640.0, episodes=10)
        'Fails after 1.5 s with a return of 312; the mean over 10 episodes is 640.'
        >>> caption(3000.0, 8.0, failed=False, mean=2900.0, episodes=10)
        'Lasts all of the 8.0 s and returns 3,000; the mean over 10 episodes is 2,900.'
    """
    begin = (
        f"Fails after {seconds:.1f} s with a return of" if failed else f"Lasts all of the {seconds:.1f} s and returns"
    )
    return f"{begin} {total:,.0f}; the mean over {episodes} episodes is {mean:,.0f}."
