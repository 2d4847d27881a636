"""Where the numbers of a robustness report come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rrl.evaluation.results import CellResult
from rrl.tracking.provenance import git_commit, package_versions


@dataclass(frozen=True)
class PolicyOrigin:
    """Where a policy came from. Method, policy and seed are those of its rows."""

    method: str
    policy: str
    train_seed: int
    env_steps: int | None = None
    """Environment steps of its training, where that is known."""
    run_id: str | None = None
    """MLflow run that trained it."""
    tracking_uri: str | None = None
    """Where that run is."""


@dataclass(frozen=True)
class Provenance:
    """What a reader needs in order to repeat an evaluation."""

    command: str
    seed: int
    """Seed of the evaluation's episodes."""
    policies: tuple[PolicyOrigin, ...] = ()
    """In any order; policies that are not among them are described by their rows."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the verdict, such as those of the suite and the budget of the attacks."""

    def origin_of(self, row: CellResult) -> PolicyOrigin:
        """Look up where the policy of a row came from.

        Args:
            row: Any row of the policy.

        Returns:
            Its origin; only what the row says, if nothing else is known.
        """
        key = (row.method, row.policy, row.train_seed)
        known = (origin for origin in self.policies if (origin.method, origin.policy, origin.train_seed) == key)
        return next(known, PolicyOrigin(*key))

    def origins(self, rows: Sequence[CellResult]) -> list[PolicyOrigin]:
        """List the origins of all policies that have rows.

        Args:
            rows: The rows.

        Returns:
            One for each policy, in the order of the rows.
        """
        return [self.origin_of(row) for row in {(row.method, row.policy, row.train_seed): row for row in rows}.values()]


def describe(rows: Sequence[CellResult], provenance: Provenance) -> list[tuple[str, str]]:
    """Describe how an evaluation was made.

    Args:
        rows: All rows.
        provenance: What the rows do not say.

    Returns:
        Terms and texts.
    """
    commit = git_commit(Path(__file__).parent)
    state = " with changes" if commit.get("git_dirty") == "true" else ""
    episodes = sorted({row.episodes for row in rows})
    return [
        ("Environment", ", ".join(dict.fromkeys(row.env_id for row in rows))),
        ("Suite", ", ".join(dict.fromkeys(row.suite for row in rows))),
        ("Episodes in each cell", " or ".join(map(str, episodes))),
        ("Evaluation seed", str(provenance.seed)),
        ("Simulation time", f"{sum(row.seconds for row in rows) / 60:.1f} minutes"),
        ("Commit", f"{commit['git_commit']}{state}" if commit else "not known"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in package_versions().items())),
        ("Command", provenance.command),
    ]
