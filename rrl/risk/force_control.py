"""How hard the adversary may push: as hard as keeps the predicted failure rate at a target."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rrl.checks import require_within


@dataclass(frozen=True, kw_only=True)
class ForceControl:
    """A slow controller of the force limit: weak while the protagonist fails often, strong once it does not."""

    target: float = 0.3
    """Failure rate to hold, in ``(0, 1)``: the mean calibrated risk of the states of a rollout."""
    gain: float = 0.5
    """By how much the logarithm of the force changes where the rate is off by 1, in ``(0, 10]``."""
    start: float = 0.5
    """Share of the task's force limit to begin with, in ``(0, 1]``."""
    least: float = 0.1
    """Share below which it never falls, in ``(0, 1]``."""

    def __post_init__(self) -> None:
        require_within("(0, 1)", target=self.target)
        require_within("(0, 10]", gain=self.gain)
        require_within("(0, 1]", start=self.start, least=self.least)
        if self.start < self.least:
            raise ValueError(f"`start` must be at least `least` {self.least}, got {self.start}.")

    def update(self, share: float, failure_rate: float) -> float:
        """Return the share of the force limit after a rollout with a predicted failure rate in ``[0, 1]``.

        Example:
            >>> control = ForceControl(target=0.5, gain=1.0)
            >>> round(control.update(0.4, 0.25), 3), control.update(0.9, 0.0), control.update(0.11, 1.0)
            (0.514, 1.0, 0.1)
        """
        require_within("[0, 1]", failure_rate=failure_rate)
        return min(max(share * math.exp(self.gain * (self.target - failure_rate)), self.least), 1.0)
