"""A robustness report in MLflow: beneath the training run of each policy, or as a run of its own."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rrl.evaluation.report_sources import Provenance
from rrl.evaluation.robustness import MethodSummary, PolicySummary
from rrl.evaluation.robustness_report import ReportFiles
from rrl.tracking.mlflow_client import connect, first_line, lacks_database

EXPERIMENT = "robustness"
"""Experiment of the report on policies that no MLflow run has trained."""
RUN_NAME = "robustness"


class _Target(NamedTuple):
    """A run that is to be made."""

    uri: str
    parent: str
    """Run beneath which it stands; empty for a run of its own."""
    metrics: Mapping[str, float]
    step: int


def log_report(files: ReportFiles, provenance: Provenance) -> list[str]:
    """Log a report, with all its files, to MLflow.

    Each policy whose training run is known gets a child run beneath that, with its own numbers as ``robustness/*``. All
    others share one run, with the numbers of their methods as ``robustness/<method>/*``. ``MLFLOW_TRACKING_URI`` says
    where; without it a child goes to where its parent is, and the shared run to ``mlflow.db`` in the working folder.

    Args:
        files: What :func:`~rrl.evaluation.robustness_report.write_report` has written.
        provenance: Where the policies came from.

    Returns:
        Sentences that say where it went, or why not: neither an unreachable server nor a run that is gone is an error.
    """
    sentences: dict[str, None] = {}
    failed: set[str] = set()
    for target in _targets(files, provenance):
        if target.uri not in failed:
            sentence, reachable = _log(target, files)
            sentences[sentence] = None
            if not reachable:
                failed.add(target.uri)
    return list(sentences)


def policy_metrics(policy: PolicySummary) -> dict[str, float]:
    """Name the numbers of a policy as they are logged.

    Args:
        policy: The policy.

    Returns:
        Known values by key.
    """
    return {f"robustness/{name}": value for name, value in policy.values.items() if math.isfinite(value)}


def method_metrics(method: MethodSummary) -> dict[str, float]:
    """Name the numbers of a method as they are logged.

    Args:
        method: The method.

    Returns:
        Known values by key; the ends of the intervals end in ``_low`` and ``_high``. Characters that MLflow does not
        accept are replaced in the name of the method.
    """
    prefix = f"robustness/{re.sub(r'[^A-Za-z0-9_ -]', '_', method.method) or '_'}"
    metrics: dict[str, float] = {}
    for name, estimate in {**method.estimates, "iqm": method.iqm}.items():
        key = f"{prefix}/{name}"
        metrics |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
    return {key: value for key, value in metrics.items() if math.isfinite(value)}


def _targets(files: ReportFiles, provenance: Provenance) -> list[_Target]:
    asked = os.environ.get("MLFLOW_TRACKING_URI")
    origins = {(origin.method, origin.policy, origin.train_seed): origin for origin in provenance.policies}
    children: list[_Target] = []
    shared: dict[str, float] = {}
    for method in files.summaries:
        for policy in method.policies:
            origin = origins.get((policy.method, policy.policy, policy.train_seed))
            uri = asked or (origin.tracking_uri if origin else None)
            if origin is not None and origin.run_id and uri:
                children.append(_Target(uri, origin.run_id, policy_metrics(policy), origin.env_steps or 0))
            else:
                shared |= method_metrics(method)
    here = f"sqlite:///{Path('mlflow.db').resolve()}"
    return [*children, *([_Target(asked or here, "", shared, 0)] if shared else [])]


def _log(target: _Target, files: ReportFiles) -> tuple[str, bool]:
    """Make one run; return what to say, and whether its MLflow answered."""
    if lacks_database(target.uri):
        return f"Not logged: there is no database at {target.uri}.", False
    try:
        run_id = _make_run(target, files)
    except Exception as error:  # the files are there already
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return f"Not logged: {target.uri} does not know the run {target.parent}.", True
        return f"Not logged: {target.uri} cannot be reached ({first_line(error)}).", False
    place = f", beneath {target.parent}" if target.parent else ""
    return f"Logged to MLflow run {run_id} at {target.uri}{place}.", True


def _make_run(target: _Target, files: ReportFiles) -> str:
    from mlflow.entities import Metric

    client = connect(target.uri)
    tags = {"mlflow.parentRunId": target.parent} if target.parent else {}
    if target.parent:
        experiment = client.get_run(target.parent).info.experiment_id
    else:
        known = client.get_experiment_by_name(EXPERIMENT)
        # Without an absolute location a bare SQLite client writes artifacts to wherever the process happens to stand.
        location = Path("mlruns").resolve().as_uri() if target.uri.startswith("sqlite:") else None
        experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, artifact_location=location)
    run_id = str(client.create_run(experiment, run_name=RUN_NAME, tags=tags).info.run_id)
    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(key, value, now, target.step) for key, value in target.metrics.items()])
    for path in files.paths:
        client.log_artifact(run_id, str(path))
    for path in files.figures:
        client.log_artifact(run_id, str(path), "figures")
    client.set_terminated(run_id)
    return run_id
