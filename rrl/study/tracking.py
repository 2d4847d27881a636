"""A study in MLflow: one parent run with the reports, the trainings beneath it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rrl.evaluation.report.page import Provenance
from rrl.evaluation.report.summary import MEASURES
from rrl.evaluation.report.write import ReportFiles, known_metrics, method_metrics
from rrl.study.plan import StudyRun
from rrl.tracking.addresses import database_uri, runs_page
from rrl.tracking.claim import read_identity
from rrl.tracking.outbox import BoundedCaller, first_line
from rrl.tracking.provenance import page_tags
from rrl.tracking.remote_run import connect, experiment_id

LONGEST_CALL = 60.0
"""Seconds after which the study goes on without MLflow."""


class StudyTracking:
    """The parent run of a study. Where MLflow does not answer, the study goes on without, and a sentence says so."""

    def __init__(self, output: Path) -> None:
        self._file = output / "mlflow_run.json"
        self._name = output.name
        self._output = output
        self.given_uri = os.environ.get("MLFLOW_TRACKING_URI")
        self.uri = self.given_uri or database_uri(Path("mlflow.db").resolve())
        self.run_id: str | None = None
        self._experiment = ""
        self.problem = ""
        """Why nothing more is logged; empty while MLflow answers."""

    def begin(self, command: str) -> None:
        """Make the parent run, or open that of the study's earlier part."""
        self._call(lambda: self._begin(command))

    def tags_of(self, run: StudyRun) -> dict[str, str]:
        """Return the tags of a training, by which runs are grouped and compared."""
        parent = {} if self.run_id is None else {"mlflow.parentRunId": self.run_id}
        return {"method": run.method, "task": run.task, "study": self._name, **parent}

    def log_report(self, task: str, files: ReportFiles, provenance: Provenance) -> None:
        """Log the numbers of the policies to their trainings, those of the methods and the files to the parent."""
        self._call(lambda: self._log_report(task, files, provenance))

    def log_metrics(self, metrics: Mapping[str, float], step: int, run: StudyRun | None = None) -> None:
        """Log numbers to a training that MLflow knows, or to the parent."""
        identity = None if run is None else read_identity(run.folder)
        run_id = self.run_id if run is None else identity and identity.run_id
        if run_id:
            self._call(lambda: self._log(str(run_id), metrics, step))

    def finish(self, files: Sequence[Path], status: str) -> None:
        """Log files to the parent and close it with MLflow's status."""
        self._call(lambda: self._finish(files, status))

    @property
    def page(self) -> str:
        """Say how a person gets to see the runs."""
        return runs_page(self.uri, self._experiment)

    def _call(self, action: object) -> None:
        if self.problem:
            return
        try:
            BoundedCaller().call(action, LONGEST_CALL)  # type: ignore[arg-type]
        except Exception as error:  # whatever MLflow says must not end the study
            self.problem = (
                f"MLflow at {self.uri} does not answer ({first_line(error)}); the study is in {self._output}."
            )

    def _begin(self, command: str) -> None:
        client = connect(self.uri)
        self._experiment = experiment_id(client, self._name, self.uri, self._output.resolve())
        if self._file.is_file():
            known = json.loads(self._file.read_text(encoding="utf-8"))
            if known["uri"] == self.uri:
                client.update_run(known["run_id"], status="RUNNING")
                self.run_id = known["run_id"]
                return
        description = f"{self._name}, and its trainings beneath.\n\n    {command}\n"
        tags = {**page_tags(command, description), "study": self._name}
        self.run_id = str(client.create_run(self._experiment, run_name=self._name, tags=tags).info.run_id)
        self._file.write_text(json.dumps({"uri": self.uri, "run_id": self.run_id}), encoding="utf-8")

    def _log_report(self, task: str, files: ReportFiles, provenance: Provenance) -> None:
        client, parent = connect(self.uri), str(self.run_id)
        for key, numbers in files.summary.policies.iterrows():
            origin = provenance.origin_of(*key)
            if origin.run_id and origin.tracking_uri == self.uri:
                self._log(origin.run_id, known_metrics("robustness", numbers[list(MEASURES)]), origin.env_steps or 0)
        for _, numbers in files.summary.methods.iterrows():
            self._log(parent, {f"{task}/{name}": value for name, value in method_metrics(numbers).items()}, 0)
        for path in files.paths:
            client.log_artifact(parent, str(path), task)

    def _log(self, run_id: str, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        connect(self.uri).log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value in metrics.items()])

    def _finish(self, files: Sequence[Path], status: str) -> None:
        client = connect(self.uri)
        for path in files:
            client.log_artifact(str(self.run_id), str(path))
        client.set_terminated(str(self.run_id), status=status)
