"""Where a run came from: the commit of the code and the versions beneath it."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("rrl", "torch", "lightning", "gymnasium", "mujoco", "diffusers", "torchmetrics", "mlflow", "numpy")


def git_commit(folder: Path) -> dict[str, str]:
    """Describe the commit that is checked out.

    Args:
        folder: Any folder of the working tree.

    Returns:
        ``git_commit`` (full hash) and ``git_dirty`` (``"true"`` if files differ from it), or nothing outside of git.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": commit, "git_dirty": str(bool(changes)).lower()}


def package_versions() -> dict[str, str]:
    """Look up the versions of the packages that decide a run's numbers.

    Returns:
        Versions by package name; packages that are not installed are left out.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
