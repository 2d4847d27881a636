"""What the command line refuses before anything is built: what no class could see by itself."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from rrl.checks import suggestion
from rrl.cli_errors import ConfigurationError
from rrl.evaluation import NominalEvaluation
from rrl.tracking.provenance import leaks_credentials

PRECISIONS = {None, 32, "32", "32-true"}
"""What the Trainer may be given as precision: the default, by its names."""
ITERATION_GROUPS = {"rollout", "protagonist", "adversary", "time", "risk", "gate", "diffusion", "guidance", "model"}
"""First parts of the names of what the algorithms log; which of them a run logs depends on all of its settings."""


def check_monitor(config: Namespace) -> None:
    """Refuse a metric for the best checkpoint or a callback that nobody logs, as far as that can be known."""
    callbacks = config.trainer.callbacks or []
    monitors = [("checkpoint.monitor", config.checkpoint.monitor)]
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        monitors += [("trainer.callbacks.monitor", callback.get("init_args.monitor"))]
    attackers = config.attacks.attackers if config.attacks.every_n_epochs > 0 else ()
    known = [*NominalEvaluation.METRICS, *(f"attack/{name}" for name in attackers)]
    is_ours = str(config.model.class_path).startswith("rrl.")
    for name, monitor in monitors:
        group = str(monitor).partition("/")[0]
        is_known = group in ITERATION_GROUPS or not (is_ours or group in {"eval", "attack"})
        if monitor is not None and not is_known and monitor not in known:
            raise ConfigurationError(
                f"`{name}` must be a metric that this run logs, got '{monitor}'{suggestion(monitor, known)}"
            )


def whole_number_seed(seed: bool | int) -> int:
    """Refuse True and False for ``seed_everything``, which would leave the worlds without a known seed."""
    if isinstance(seed, bool):
        raise ConfigurationError(f"`seed_everything` must be a whole number, got {seed}.")
    if not 0 <= seed < 2**32:
        raise ConfigurationError(f"`seed_everything` must lie in [0, 2**32), got {seed}.")
    return seed


def check_address(uri: str | None) -> None:
    """Raise ConfigurationError for a tracking server that a file could name to be sent the user's credentials."""
    if uri and leaks_credentials(uri):
        raise ConfigurationError(
            "`tracking_uri` must be the address in MLFLOW_TRACKING_URI, or it would be sent your MLflow credentials, "
            f"got {uri}."
        )


def refuse_automatic(trainer: Namespace) -> None:
    """Refuse options of the Trainer for updates that it makes itself; the algorithms here make their own."""
    neutral: dict[str, set[Any]] = {
        "gradient_clip_val": {None},
        "accumulate_grad_batches": {1},
        "precision": PRECISIONS,
    }
    for name, values in neutral.items():
        if trainer[name] not in values:
            raise ConfigurationError(
                f"`trainer.{name}` must be left out: algorithms step by themselves, got {trainer[name]}."
            )


def check_length(trainer: Namespace) -> None:
    """Refuse a training of no epoch, of which nothing would be left but an empty folder."""
    if trainer.max_epochs is not None and not (trainer.max_epochs >= 1 or trainer.max_epochs == -1):
        raise ConfigurationError(
            f"`trainer.max_epochs` must be at least 1, or -1 for no end, got {trainer.max_epochs}."
        )


def refuse_linked(given: set[str]) -> None:
    """Refuse values, by dotted name, for settings that are computed; the parser would silently ignore them."""
    for key, source in {"model.spaces": "the data", "data.seed": "`seed_everything`"}.items():
        if any(name == key or name.startswith(f"{key}.") for name in given):
            raise ConfigurationError(f"`{key}` cannot be set: its value comes from {source}.")


def check_writable(folder: Path) -> None:
    """Raise ConfigurationError unless a folder can be created and written; leave nothing behind."""
    existing = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = re.sub(r"^\[Errno \d+\] ", "", str(error)).partition(":")[0].lower()
        raise ConfigurationError(f"The output folder {folder} cannot be written ({reason}).") from error
