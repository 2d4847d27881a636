"""MLflow as seen by a training run: it gets every number, and logging never blocks or aborts the run."""

from __future__ import annotations

import math
import os
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from rrl.tracking.addresses import check_tracking_uri, database_uri, runs_page
from rrl.tracking.claim import IDENTITY_FILE, Identity, RunFolder
from rrl.tracking.outbox import Message, Outbox, append_lines, read_lines
from rrl.tracking.provenance import DESCRIPTION, describe_result, without_password
from rrl.tracking.remote_run import RemoteRun
from rrl.tracking.repeats import Repeats

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENV_STEPS = "time/env_steps"
"""The metric against which all others are logged: real environment steps, over all processes."""
METRICS_FILE = "metrics.jsonl"
"""Name of the file in the folder of a run by which it is known."""
UNSENT_FILE = "unsent.jsonl"
"""Name of the file in the folder of a run in which messages to MLflow wait."""
MAX_PARAM_LENGTH = 6000
"""MLflow's own limit; longer values would be refused."""


def require_run_name(name: object) -> None:
    """Refuse names that cannot be those of a folder: a ValueError of one sentence."""
    text = name if isinstance(name, str) else ""
    is_folder = text.strip() not in {"", ".", ".."} and not {"/", "\\"} & {*text}
    if not (is_folder and text.isprintable() and len(text) <= 100 and len(text.encode()) <= 200):
        shown = repr(name) if len(repr(name)) < 100 else f"{len(text)} characters"
        raise ValueError(f"`run_name` must have up to 100 printable characters without slashes, got {shown}.")


class MLflowRunLogger(Logger):
    """One run in MLflow and its twin on disk.

    Without any server, runs go to an SQLite database in the working folder (look at them with ``mlflow ui``). All
    files of a run lie in ``<root>/runs/<run_name>``: checkpoints, figures, ``metrics.jsonl`` with every metric logged,
    and, while MLflow cannot be reached, ``unsent.jsonl`` with what it has missed. That is sent as soon as a call gets
    through, at the end, when the run is resumed, or by ``rrl deliver``. Repeats are harmless: MLflow stores one value
    per metric, step and time, and what a resumed run repeats is sent with its first time.

    ``mlflow.json`` says which run in MLflow the folder belongs to, and whether it has ended. A run that was killed
    stays `RUNNING` in MLflow until it goes on, or until another run with the same root begins, which calls it `KILLED`.

    Metrics are logged against real environment steps: the ``time/env_steps`` of the same call or last seen, else the
    step of Lightning.

    Args:
        root: Working folder that takes ``mlflow.db``, ``mlruns`` and ``runs``.
        experiment_name: MLflow experiment; created if missing.
        run_name: Name of the run and of its folder; made from the time by default.
        tracking_uri: Where MLflow stores runs: by default the environment variable ``MLFLOW_TRACKING_URI`` at the time
            of construction, else ``sqlite:///<root>/mlflow.db``.
        run_id: Continue this MLflow run instead of starting one.
        tags: Further tags of the run.
        folder: Folder of the run's files in place of ``<root>/runs/<run_name>``; a continued run stays where it is.
        log_model: Whether the policy of a finished run is saved as a model for ``mlflow.pyfunc`` and ``mlflow models``.
    """

    def __init__(
        self,
        root: str = ".",
        experiment_name: str = "rrl",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        run_id: str | None = None,
        tags: dict[str, str] | None = None,
        folder: str | None = None,
        log_model: bool = True,
    ) -> None:
        super().__init__()
        self.log_model = log_model
        self.root = Path(root).resolve()
        self.run_name = run_name or time.strftime("run-%Y%m%d-%H%M%S")
        require_run_name(self.run_name)
        self.experiment_name = experiment_name
        self.run_dir = Path(folder).resolve() if folder else self.root / "runs" / self.run_name
        """Folder of all files of this run."""
        asked = os.environ.get("MLFLOW_TRACKING_URI")
        self.tracking_uri = tracking_uri or asked or database_uri(self.root / "mlflow.db")
        check_tracking_uri(**{"tracking_uri" if tracking_uri else "MLFLOW_TRACKING_URI": self.tracking_uri})
        self.outcome = "FAILED"
        """Status that the run gets if it does not end well; a callback says ``KILLED`` for Ctrl-C and SIGTERM."""
        self._tags = dict(tags or {})
        self._run = RemoteRun(self.tracking_uri, experiment_name, self.run_name, run_id=run_id, root=self.root)
        self._checkpoints: Checkpoint | None = None
        self._config_recorded = False
        self._env_steps: int | None = None
        self._description = ""
        self._outbox = Outbox(self._run.deliver, self.run_dir / UNSENT_FILE)
        self.metrics_file = self.run_dir / METRICS_FILE
        """Every metric this run has logged, as JSON lines."""
        self._repeats = Repeats(self.metrics_file, ENV_STEPS)
        identity = Identity(without_password(self.tracking_uri), experiment_name, self.run_name)
        self._folder = RunFolder(self.run_dir, identity)

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run; None until it has been reached."""
        return self._run.run_id

    @property
    def save_dir(self) -> str:
        """Folder of the run, for Lightning."""
        return str(self.run_dir)

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.experiment_name

    @property
    def version(self) -> str:
        """Name of the run."""
        return self.run_name

    @property
    def page(self) -> str:
        """How a person gets to see the runs."""
        return runs_page(self.tracking_uri, self._run.experiment_id)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics by name, ``group/quantity``."""
        values = {key: float(value) for key, value in metrics.items()}
        if not math.isnan(values.get(ENV_STEPS, math.nan)):
            self._env_steps = int(values[ENV_STEPS])
        at = self._env_steps if self._env_steps is not None else int(step or 0)
        record = {"step": at, "time": int(time.time() * 1000), "metrics": values}
        repeated = self._repeats.find(record)
        if repeated is None:
            append_lines(self.metrics_file, [record])
        self._post(repeated or record)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log hyperparameters, unless the whole configuration has been recorded already."""
        if not self._config_recorded:
            named = vars(params) if isinstance(params, Namespace) else params
            self.log_params({key: value for key, value in named.items() if not key.startswith("_")})

    @rank_zero_only
    def log_params(self, params: Mapping[str, Any], *, whole_config: bool = False) -> None:
        """Log what is not logged yet; after the ``whole_config`` later calls by Lightning add nothing."""
        self._config_recorded = self._config_recorded or whole_config
        self._post({"params": {key: str(value)[:MAX_PARAM_LENGTH] for key, value in params.items()}})

    @rank_zero_only
    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; those of the configuration win."""
        all_tags = {**tags, **self._tags}
        self._description = all_tags.get(DESCRIPTION, self._description)
        self._post({"tags": all_tags})

    @rank_zero_only
    def log_environment(self, env_id: str, digest: str) -> None:
        """Name the environment as the data of the run; the ``digest`` tells versions of it apart."""
        self._post({"dataset": env_id, "digest": digest})

    @rank_zero_only
    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload a file, which must stay where it is until it has been sent, to a folder among the run's artifacts."""
        self._post({"artifact": str(path), "folder": folder})

    @rank_zero_only
    def claim_folder(self, *, start_over: bool) -> None:
        """Claim the folder of the run for this process.

        Raises a ClaimedError if another process trains there.

        Args:
            start_over: Remove what a run of this name has logged that was killed before its first checkpoint.
        """
        self._folder.claim()
        if start_over:
            killed = [message for message in self._outbox.waiting() if "killed" in message]
            lost = self._folder.lost()
            self._outbox.replace(killed if lost is None else [*killed, {"killed": lost}])
            self.metrics_file.unlink(missing_ok=True)
            (self.run_dir / IDENTITY_FILE).unlink(missing_ok=True)

    def _post(self, message: Message) -> None:
        """Send a message of this run, now or later; tell MLflow, once, of runs whose processes were killed."""
        self._folder.claim()
        self._folder.sign(self.run_id, ended=False)
        is_first = self._run.client is None
        self._outbox.post(message)
        if is_first and self._run.client is not None:
            self._folder.sign(self.run_id, ended=False)
            for run_id in self._folder.lost_neighbours(self.root / "runs"):
                self._outbox.post({"killed": run_id})

    def history(self, key: str) -> dict[int, float]:
        """Read back a metric of this run by environment steps; where a resumed run repeats a step, its value counts."""
        records = read_lines(self.metrics_file)
        return dict(sorted((record["step"], record["metrics"][key]) for record in records if key in record["metrics"]))

    def means(self, prefix: str, suffix: str) -> dict[str, float]:
        """Average metrics over all iterations of this run, by what stands between prefix and suffix of their names."""
        series: dict[str, list[float]] = {}
        for record in read_lines(self.metrics_file):
            for key, value in record["metrics"].items():
                if key.startswith(prefix) and key.endswith(suffix):
                    series.setdefault(key.removeprefix(prefix).removesuffix(suffix), []).append(value)
        return {part: sum(values) / len(values) for part, values in series.items()}

    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:
        """Remember whose checkpoints to upload at the end."""
        self._checkpoints = checkpoint_callback

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Upload the best and the last checkpoint, say what came out, close the run and deliver what waits."""
        for kind in ("best_model_path", "last_model_path"):
            path = Path(getattr(self._checkpoints, kind, ""))
            if path.is_file():
                self.log_artifact(path, "checkpoints")
        if self._description and (result := describe_result(self.history)):
            self._post({"tags": {DESCRIPTION: f"{self._description}\n{result}\n"}})
        self._post({"status": "FINISHED" if status == "success" else self.outcome})
        if unsent := self._outbox.flush():
            place = f"{self._outbox.path} for `rrl deliver` or a resume"
            rank_zero_warn(f"{unsent} messages did not reach MLflow. They wait in {place}.")
        self._folder.sign(self.run_id, ended=True)
        self._folder.release()

    @property
    def experiment(self) -> MlflowClient | None:
        """The MLflow client, connected if MLflow can be reached; None on all processes but the first."""
        if self._run.client is None:
            self.log_tags(self._tags)
        return self._run.client
