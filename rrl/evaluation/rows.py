"""What an evaluation found: one row for each policy and cell, and what tells rows apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from rrl.evaluation.episodes import EpisodeReturns

CellKind = Literal["nominal", "physics", "noise", "push", "attack"]


class PolicyLabel(NamedTuple):
    """Whose result it is: the first columns of a :class:`CellResult`."""

    method: str = "policy"
    """Name of the group to which the policy belongs, such as ``RARL``."""
    policy: str = ""
    """Where the policy came from: a path, a run, a function."""
    train_seed: int = 0
    """Seed with which it was trained, or its place in the group where that is not known."""


NO_LABEL = PolicyLabel()


class CellKey(NamedTuple):
    """Which row it is: no two rows of an evaluation share it."""

    label: PolicyLabel
    cell: str


class Place(NamedTuple):
    """Where a cell is, a condition of a suite or an attack: the columns behind the environment."""

    suite: str
    sweep: str
    """Name of the sweep within the suite, such as ``mass x friction``."""
    cell: str
    """Name of the cell, unique within the suite."""
    kind: CellKind
    axis_1: str = ""
    """Parameter of the first axis; empty where the sweep has none."""
    value_1: float = float("nan")
    """Its value; not a number where there is none."""
    axis_2: str = ""
    value_2: float = float("nan")


def require_no_formula(*names: str) -> None:
    """Refuse names of methods, policies and cells that a spreadsheet would compute; a ValueError of one sentence."""
    for name in names:
        if name.startswith(("=", "+", "-", "@", "\t", "\r")):
            raise ValueError(f"Names in results must not begin with = + - @, which spreadsheets compute, got {name!r}.")


@dataclass(frozen=True)
class CellResult:
    """Episodes of one policy in one cell; the fields are the columns of all files.

    The first are those of :class:`PolicyLabel`, and behind the environment those of :class:`Place`.
    """

    method: str
    policy: str
    train_seed: int
    env_id: str
    suite: str
    sweep: str
    cell: str
    kind: CellKind
    axis_1: str
    value_1: float
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

    @classmethod
    def of(
        cls, label: PolicyLabel, env_id: str, place: Place, episodes: EpisodeReturns, *, seconds: float
    ) -> CellResult:
        """Sum up the episodes of a policy in a cell."""
        returns, distances = episodes.returns, episodes.forward_distances
        return cls(
            *label,
            env_id,
            **place._asdict(),
            episodes=len(returns),
            return_mean=float(returns.mean()),
            return_std=float(returns.std()),
            return_worst=float(returns.min()),
            length_mean=float(episodes.lengths.mean()),
            failure_rate=float(episodes.failed.mean()),
            forward_distance=float("nan") if distances is None else float(distances.mean()),
            seconds=seconds,
        )

    @property
    def label(self) -> PolicyLabel:
        """Whose result it is."""
        return PolicyLabel(self.method, self.policy, self.train_seed)

    @property
    def key(self) -> CellKey:
        """Which row it is."""
        return CellKey(self.label, self.cell)
