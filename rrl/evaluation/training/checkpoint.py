"""The evaluation of a checkpoint: run it, print it, log it to the run that trained it."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Any

from rrl.checkpoints.loading import MARKER, actor_of, build_algorithm, read_checkpoint, worlds_of
from rrl.checks import require_at_least
from rrl.envs.names import modules_of, refuse_unnamed, registered_id
from rrl.evaluation.episodes import run_episodes
from rrl.evaluation.intervals import CONFIDENCE, Estimate, ReturnSummary, summarize_returns
from rrl.evaluation.training.callbacks import nominal_worlds
from rrl.random_streams import Purpose
from rrl.tracking.addresses import lacks_database
from rrl.tracking.outbox import BoundedCaller, first_line
from rrl.tracking.provenance import is_strange
from rrl.tracking.remote_run import DEADLINE, connect

ROWS = {
    "return_mean": ("return, mean", "reward"),
    "return_cvar": ("return, CVaR10", "reward"),
    "return_worst": ("return, worst", "reward"),
    "episode_length": ("episode length", "steps"),
    "forward_distance": ("forward distance", "m"),
}


@dataclass(frozen=True)
class CheckpointEvaluation:
    """The nominal evaluation of one checkpoint."""

    path: str
    env_id: str
    num_episodes: int
    env_steps: int
    """Real environment steps after which the checkpoint was written."""
    failure_rate: float
    summary: ReturnSummary
    origin: dict[str, Any]
    """The mark in the checkpoint: run, tracking URI, version."""


def evaluate_checkpoint(
    path: str | os.PathLike[str], num_episodes: int, env_id: str | None = None
) -> CheckpointEvaluation:
    """Run the mean action of a checkpoint's policy in unchanged worlds.

    The episodes are the same for every checkpoint of the same training seed, and not those on which the best checkpoint
    was chosen. Fewer than 1, or a file that is not a checkpoint of this package, are a ValueError. A module that it
    names is imported only if the user names it too, with ``env_id`` or otherwise.
    """
    require_at_least(1, **{"--episodes": num_episodes})
    checkpoint = read_checkpoint(path)
    worlds = worlds_of(checkpoint, path)
    require_same_environment(worlds, env_id, path)
    actor = actor_of(build_algorithm(checkpoint, path))
    envs = nominal_worlds(worlds, num_episodes, Purpose.CHECKPOINT_EVALUATION)
    try:
        episodes = run_episodes(envs, actor, num_episodes)
    finally:
        envs.close()
    return CheckpointEvaluation(
        path=str(path),
        env_id=worlds["env_id"],
        num_episodes=num_episodes,
        env_steps=int(checkpoint["state_dict"].get("env_steps", 0)),
        failure_rate=float(episodes.failed.mean()),
        summary=summarize_returns(episodes),
        origin=checkpoint[MARKER],
    )


def require_same_environment(worlds: dict[str, Any], env_id: str | None, path: str | os.PathLike[str]) -> None:
    """Import the module of an environment that the user has named; ValueError if the checkpoint has another one."""
    if env_id is not None:
        if env_id.rpartition(":")[2] != worlds["env_id"].rpartition(":")[2]:
            raise ValueError(f"{path} was trained on {worlds['env_id']}, not on {env_id}.")
        registered_id(env_id)
    refuse_unnamed(modules_of(worlds["env_id"], worlds["wrappers"]), path)


def format_table(result: CheckpointEvaluation) -> str:
    """Lay an evaluation out as text: a heading and aligned columns of quantity, unit, value, interval."""
    cells = [("quantity", "unit", "value", f"{CONFIDENCE:.0%} interval")]
    for name, (label, unit) in ROWS.items():
        estimate: Estimate | None = getattr(result.summary, name)
        if estimate is not None:
            interval = f"[{estimate.low:.1f}, {estimate.high:.1f}]" if estimate.has_interval else "none"
            cells.append((label, unit, f"{estimate.value:.1f}", interval))
    cells.append(("failed episodes", "%", f"{100 * result.failure_rate:.1f}", ""))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        f"{label:<{widths[0]}}  {unit:<{widths[1]}}  {value:>{widths[2]}}  {interval:>{widths[3]}}".rstrip()
        for label, unit, value, interval in cells
    ]
    heading = (
        f"{result.env_id}, nominal, {result.num_episodes} episodes, {result.env_steps:,} training steps: {result.path}"
    )
    note = [] if result.summary.return_mean.has_interval else ["", "A single episode leaves no interval."]
    return "\n".join([heading, "", lines[0], "-" * len(lines[0]), *lines[1:], *note])


def log_to_run(result: CheckpointEvaluation) -> str:
    """Log an evaluation to the MLflow run that trained the policy: the known numbers, as ``evaluation/*``.

    The ends of intervals end in ``_low`` and ``_high``. A sentence says where it went, or why nowhere; an unreachable
    server is not an error.
    """
    run_id = result.origin["run_id"]
    uri = os.environ.get("MLFLOW_TRACKING_URI") or result.origin.get("tracking_uri")
    if not run_id or not uri:
        return "Not logged: the checkpoint names no MLflow run."
    if is_strange(uri):
        return f"Not logged: the checkpoint names the server {uri}; set MLFLOW_TRACKING_URI to it to log there."
    if lacks_database(uri):
        return f"Not logged: there is no database at {uri}."
    metrics = {"evaluation/failure_rate": result.failure_rate, "evaluation/episodes": float(result.num_episodes)}
    for name in ROWS:
        estimate: Estimate | None = getattr(result.summary, name)
        if estimate is not None:
            metrics |= estimate.named(f"evaluation/{name}")
    try:
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), result.env_steps
        known = [Metric(key, value, now, step) for key, value in metrics.items() if math.isfinite(value)]
        BoundedCaller().call(lambda: connect(uri).log_batch(run_id, metrics=known), DEADLINE)
    except Exception as error:  # the numbers are on the screen already
        return f"Not logged: {uri} cannot be reached ({first_line(error)})."
    return f"Logged to MLflow run {run_id} at {uri}."
