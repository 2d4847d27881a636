"""Where the numbers of a robustness report come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rrl.tracking.provenance import git_commit, package_versions

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class PolicyOrigin:
    """Where a policy came from: method, policy and seed of its rows, and what is known of its training."""

    method: str
    policy: str
    train_seed: int
    env_steps: int | None = None
    run_id: str | None = None
    """MLflow run that trained it."""
    tracking_uri: str | None = None


@dataclass(frozen=True)
class Provenance:
    """What a reader needs in order to repeat an evaluation."""

    command: str
    seed: int
    """Seed of the evaluation's episodes."""
    policies: tuple[PolicyOrigin, ...] = ()
    """Policies that are not among them are described by their rows."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the verdict, such as those of the suite and the budget of the attacks."""

    def origin_of(self, method: str, policy: str, train_seed: int) -> PolicyOrigin:
        """Look up where a policy came from; only its name and seed, if nothing else is known."""
        key = (method, policy, train_seed)
        known = (origin for origin in self.policies if (origin.method, origin.policy, origin.train_seed) == key)
        return next(known, PolicyOrigin(*key))

    def describe(self, cells: DataFrame) -> list[tuple[str, str]]:
        """Describe in terms and texts how the rows were made."""
        commit = git_commit(Path(__file__).parent)
        state = " with changes" if commit.get("git_dirty") == "true" else ""
        return [
            ("Environment", ", ".join(cells.env_id.unique())),
            ("Suite", ", ".join(cells.suite.unique())),
            ("Episodes in each cell", " or ".join(map(str, sorted(cells.episodes.unique())))),
            ("Evaluation seed", str(self.seed)),
            ("Simulation time", f"{cells.seconds.sum() / 60:.1f} minutes"),
            ("Commit", f"{commit['git_commit']}{state}" if commit else "not known"),
            ("Versions", ", ".join(f"{name} {version}" for name, version in package_versions().items())),
            ("Command", self.command),
        ]
