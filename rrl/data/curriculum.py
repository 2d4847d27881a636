"""How wide the uncertainty set of the training worlds is: wider as the policy holds its level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rrl.checks import require_at_least, require_within


@dataclass(frozen=True)
class Curriculum:
    """From which width, and how, the uncertainty set widens to all of its ranges, whose width is 1.

    Width ``w`` multiplies the pushes, and shrinks the range ``[low, high]`` of each factor of the physics towards 1, to
    ``[1 - w (1 - low), 1 + w (high - 1)]``. It holds for the episodes that start from then on.
    """

    start: float = 0.25
    """Width of the first episodes, in ``[0, 1]``; 0 is nominal."""
    step: float = 0.1
    """By how much the width grows at once, in ``(0, 1]``."""
    share: float = 0.8
    """The mean return of the newest episodes must be at least this share of the best such mean so far, in ``[0, 1]``.
    Where returns are negative it may be lower by as much: a tenth of its size with 0.9."""
    episodes: int = 100
    """How many newest episodes are judged, over all worlds; as many must have ended since the set was last widened."""

    def __post_init__(self) -> None:
        require_within("[0, 1]", start=self.start, share=self.share)
        require_within("(0, 1]", step=self.step)
        require_at_least(1, episodes=self.episodes)


class Widening:
    """A curriculum at its present width."""

    def __init__(self, settings: Curriculum) -> None:
        self.settings = settings
        self.width = settings.start
        self.best = -math.inf
        self.recent: list[float] = []

    def update(self, returns: Sequence[float]) -> None:
        """Take in the undiscounted returns of episodes that ended, oldest first, and widen by one step if it is time.

        Example:
            >>> widening = Widening(Curriculum(start=0.5, step=0.2, share=0.8, episodes=2))
            >>> widening.update([90.0, 110.0])
            >>> widening.width
            0.7
            >>> widening.update([70.0, 80.0])
            >>> widening.width
            0.7
        """
        size, share = self.settings.episodes, self.settings.share
        self.recent = [*self.recent, *returns][-size:]
        if not returns or len(self.recent) < size:
            return
        mean = math.fsum(self.recent) / size
        self.best = max(self.best, mean)
        if mean >= self.best - (1.0 - share) * abs(self.best) and self.width < 1.0:
            self.width, self.recent = min(self.width + self.settings.step, 1.0), []

    def state_dict(self) -> dict[str, Any]:
        """Return everything on which later widths depend."""
        return {"width": self.width, "best": self.best, "recent": list(self.recent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was called."""
        self.width, self.best, self.recent = state["width"], state["best"], list(state["recent"])
