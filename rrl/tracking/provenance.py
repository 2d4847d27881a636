"""What identifies a run, its name, parameters, commit and versions, and what of an address may be told to whom."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

TELLING = {f"trainer.{name}" for name in ("accelerator", "devices", "max_epochs", "num_nodes", "strategy")}
"""Parameters of the Trainer that say something of a run."""
DESCRIPTION = "mlflow.note.content"
"""Tag that MLflow shows as the description of a run."""
RESULTS = {"eval/return_mean": "the last evaluation", "rollout/episode_return_mean": "the last rollout"}
"""Metrics that say what a training has come to, the best first, and what they are measured in."""
PACKAGES = ("rrl", "torch", "lightning", "gymnasium", "mujoco", "diffusers", "torchmetrics", "mlflow", "numpy")


def git_commit(folder: Path) -> dict[str, str]:
    """Return ``git_commit``, the full hash, and ``git_dirty`` of a folder's working tree; nothing outside of git."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
        return {"git_commit": _git(folder, "rev-parse", "HEAD"), "git_dirty": str(bool(changes)).lower()}
    return {}


def package_versions() -> dict[str, str]:
    """Look up the versions of the installed packages that decide a run's numbers, by name."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def training_tags(algorithm: str, env_id: str, seed: int, command: Sequence[str]) -> dict[str, str]:
    """Make the tags by which runs are told apart, grouped and repeated, and those that MLflow itself shows of a run.

    ``method`` is the algorithm unless a study says more. ``python -m rrl.main`` is called ``rrl``. Addresses in
    the command line lose their passwords.
    """
    program = ["rrl" if name == "main.py" else name for name in (Path(part).name for part in command[:1])]
    said = shlex.join([*program, *map(without_password, command[1:])])
    tags = {"algo": algorithm, "method": algorithm, "env": env_id, "seed": str(seed)}
    tags |= page_tags(said, f"{algorithm} on {env_id}, seed {seed}\n\n    {said}\n")
    versions = {f"version.{name}": version for name, version in package_versions().items()}
    return tags | git_commit(Path(__file__).parent) | versions


def page_tags(command: str, description: str) -> dict[str, str]:
    """Make the tags that MLflow shows on top of a run's page: what ran, who ran it, and a description in Markdown."""
    tags = {"mlflow.source.name": command, "mlflow.source.type": "LOCAL", DESCRIPTION: description}
    with contextlib.suppress(OSError, KeyError, ImportError):  # nobody has a name in some containers
        tags["mlflow.user"] = getpass.getuser()
    return tags


def describe_result(history: Callable[[str], Mapping[int, float]]) -> str:
    """Say what a training has come to, by the histories of its metrics; nothing where none is known.

    Example:
        >>> describe_result({"eval/return_mean": {1000: 12.5, 2000: 1830.0}}.get)
        'Mean return 1,830.0 in the last evaluation, after 2,000 environment steps.'
    """
    for metric, where in RESULTS.items():
        if found := history(metric):
            steps = max(found)
            return f"Mean return {found[steps]:,.1f} in {where}, after {steps:,} environment steps."
    return ""


def telling_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a run's parameters what tells nothing of it; ``config.yaml`` has everything.

    That is most of the Trainer, which hardly anybody sets, and the paths of configurations, which stand in the command.

    Example:
        >>> telling_params({"trainer.max_epochs": 5, "trainer.barebones": False, "model.gamma": 0.99, "config": "a"})
        {'trainer.max_epochs': 5, 'model.gamma': 0.99}
    """
    untold = {"config", "__default_config__"}
    kept = {name: value for name, value in params.items() if name not in untold}
    return {name: value for name, value in kept.items() if not name.startswith("trainer.") or name in TELLING}


def new_run_name(class_path: str, env_id: str, seed: int) -> str:
    """Make a unique name that tells algorithm, environment unless empty, seed and time, usable in a file name."""
    algorithm = class_path.rpartition(".")[2].lower()
    environment = env_id.rpartition("/")[2].partition("-")[0].lower()
    # uuid4 draws from the operating system, so two runs with the same seed still get different names.
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    return "-".join(part for part in (algorithm, environment, f"s{seed}", unique) if part)


def flatten_config(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn a nested configuration of LightningCLI into values by dotted name.

    Classes stand under the name of their section, and ``init_args`` is left out.

    Example:
        >>> flatten_config({"model": {"class_path": "rrl.TRPO", "init_args": {"gamma": 0.99}}, "seed": 1})
        {'model': 'rrl.TRPO', 'model.gamma': 0.99, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = prefix + ("" if key in {"class_path", "init_args"} else key)
        if isinstance(value, dict):
            flat |= flatten_config(value, name if key == "init_args" else f"{name}.")
        elif value is not None:
            flat[name.rstrip(".")] = value
    return flat


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def without_password(uri: str) -> str:
    """Remove user name and password from an address, so that it can be stored and shared.

    Example:
        >>> without_password("https://ada:secret@mlflow.example.org/api")
        'https://mlflow.example.org/api'
    """
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + separator + host.rpartition("@")[2] + slash + path


def is_strange(uri: str) -> bool:
    """Tell whether an address is neither of files nor in ``MLFLOW_TRACKING_URI``, and so gets no credentials."""
    return not uri.startswith(("sqlite:///", "file:", "/")) and uri != os.environ.get("MLFLOW_TRACKING_URI")


def leaks_credentials(uri: str) -> bool:
    """Tell whether MLflow would send a name, password or token to an address that is strange."""
    names = ("USERNAME", "PASSWORD", "TOKEN", "AUTH", "AWS_SIGV4", "CLIENT_CERT_PATH")
    in_file = Path("~/.mlflow/credentials").expanduser().exists()
    return is_strange(uri) and (in_file or any(f"MLFLOW_TRACKING_{name}" in os.environ for name in names))
