"""What an evaluation found: one row for each policy and cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CellKind = Literal["nominal", "physics", "noise", "push", "attack"]


@dataclass(frozen=True)
class CellResult:
    """Episodes of one policy under one condition."""

    method: str
    """Name of the group to which the policy belongs, such as ``RARL``."""
    policy: str
    """Where the policy came from: a path, a run, a function."""
    train_seed: int
    """Seed with which it was trained, or its place in the group where that is not known."""
    env_id: str
    suite: str
    """Name of the suite."""
    sweep: str
    """Name of the sweep within the suite, such as ``mass x friction``."""
    cell: str
    """Name of the cell, unique within the suite."""
    kind: CellKind
    axis_1: str
    """Parameter of the first axis; empty where the sweep has none."""
    value_1: float
    """Its value; not a number where there is none."""
    axis_2: str
    value_2: float
    episodes: int
    return_mean: float
    """Mean undiscounted return, in units of reward."""
    return_std: float
    """Standard deviation over the episodes."""
    return_worst: float
    length_mean: float
    """Environment steps."""
    failure_rate: float
    """Fraction of the episodes that terminated."""
    forward_distance: float
    """Mean, metres; not a number where the task does not move forward."""
    seconds: float
    """Wall clock that the cell took, its share of a batch."""
