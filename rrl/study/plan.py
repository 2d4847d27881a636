"""The trainings of a study: what each is called, what it takes, and where its files lie."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rrl.cli_errors import check_files, near_configuration
from rrl.configuration import named_modules, own_modules
from rrl.shipped import shipped_file
from rrl.study.settings import TASK, Method, StudySettings, folder_name, read_yaml, section, seed_numbers
from rrl.tracking import METRICS_FILE

LOGGER = "--trainer.logger.init_args."
STEPS_OF_AN_EPOCH = ("num_envs", "num_steps", "iterations_per_epoch")


class StudyError(ValueError):
    """A study that cannot be run; the message is one line for the user."""


@dataclass(frozen=True)
class StudyRun:
    """One training."""

    method: str
    task: str
    seed: int
    output: Path
    """Folder of the study."""
    arguments: tuple[str, ...]
    """Command line of ``train.py``, apart from what only concerns the tracking."""
    settings: str
    """Digest of its settings."""
    steps: int | None
    """Real environment steps that it takes; None where the configurations do not say."""
    modules: frozenset[str] = frozenset()
    """Modules of the user's own whose classes its configurations name."""

    @property
    def name(self) -> str:
        """Name of the run and of its folder."""
        return run_name(self.method, self.task, self.seed)

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.output / "runs" / self.name

    @property
    def checkpoint(self) -> Path:
        """The policy that is judged, and from which an interrupted run goes on."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def log(self) -> Path:
        """What it has printed."""
        return self.output / "logs" / f"{self.name}.txt"

    def steps_done(self) -> int:
        """Read the environment steps so far from the last whole line that the run has logged."""
        try:
            with (self.folder / METRICS_FILE).open("rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - 20_000, 0))
                line = file.read().splitlines(keepends=True)[-2:][0]
            return int(json.loads(line)["step"])
        except (OSError, ValueError, LookupError, TypeError):
            return 0


def run_name(method: str, task: str, seed: int) -> str:
    """Name a run.

    Example:
        >>> run_name("AD-RRL", "hopper", 2)
        'ad_rrl_hopper_2'
    """
    return f"{folder_name(method)}_{folder_name(task)}_{seed}"


def plan_runs(study: StudySettings, tracking_uri: str | None) -> list[StudyRun]:
    """List the trainings, seed by seed, so that a study that is stopped is balanced; StudyError for unusable files.

    ``tracking_uri`` is where the runs are tracked; None where an environment variable says so.
    """
    cells = product(seed_numbers(study.seeds), study.tasks, study.methods)
    return [_plan(study, method, task, seed, tracking_uri) for seed, task, method in cells]


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested configuration over another.

    Example:
        >>> merge({"data": {"a": 1, "b": 2}}, {"data": {"b": 3}})
        {'data': {'a': 1, 'b': 3}}
    """
    both = {
        key: merge(first[key], value) if isinstance(value, Mapping) and isinstance(first.get(key), Mapping) else value
        for key, value in second.items()
    }
    return {**first, **both}


def _plan(study: StudySettings, method: str, task: str, seed: int, tracking_uri: str | None) -> StudyRun:
    how, output = study.methods[method], Path(study.output)
    files = [shipped_file(name.replace(TASK, task)) for name in how.configs]
    content = _content(how, files, method)
    settings = dict(how.settings)
    for name, value in settings.items():
        content = merge(content, _nested(name, value))
    if study.steps is not None:
        settings["trainer.max_epochs"] = max(round(study.steps / _epoch_steps(content, method, files)), 1)
        content = merge(content, _nested("trainer.max_epochs", settings["trainer.max_epochs"]))
    name = run_name(method, task, seed)
    arguments = [part for path in files for part in ("--config", str(path))]
    arguments += [f"--{key}={json.dumps(value)}" for key, value in settings.items()]
    arguments += ["--seed_everything", str(seed), f"{LOGGER}root", str(output), f"{LOGGER}run_name", name]
    arguments += [f"{LOGGER}experiment_name", output.name]
    arguments += [] if tracking_uri is None else [f"{LOGGER}tracking_uri", tracking_uri]
    digest = hashlib.sha256(json.dumps([content, seed], sort_keys=True, default=str).encode()).hexdigest()[:16]
    epochs = section(content, "trainer").get("max_epochs")
    sizes = _sizes(content)
    steps = epochs * sizes[0] * sizes[1] * sizes[2] if sizes and isinstance(epochs, int) else None
    own = own_modules()
    modules = frozenset(name for name in named_modules(content) if name.partition(".")[0] in own)
    return StudyRun(method, task, seed, output, tuple(arguments), digest, steps, modules)


def _content(how: Method, files: Sequence[Path], method: str) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if not files:
        raise StudyError(f"`methods.{method}.configs` must name at least one file.")
    for path in files:
        if not path.is_file():
            raise StudyError(f"There is no configuration {path} of the method {method}{near_configuration(path)}")
        check_files(["--config", str(path)])
        for name, value in read_yaml(path).items():  # dotted ones too, as those of `best.yaml` of a tuning are
            content = merge(content, _nested(name, value))
    return content


def _sizes(content: Mapping[str, Any]) -> list[int] | None:
    data = section(content, "data", "init_args")
    sizes = [data.get(name) for name in STEPS_OF_AN_EPOCH]
    return [size for size in sizes if isinstance(size, int)] if all(isinstance(size, int) for size in sizes) else None


def _epoch_steps(content: Mapping[str, Any], method: str, files: Sequence[Path]) -> int:
    sizes = _sizes(content)
    if sizes is None:
        names = ", ".join(STEPS_OF_AN_EPOCH)
        raise StudyError(f"`steps` needs {names} in the data of {files[-1]}, the configuration of {method}.")
    return sizes[0] * sizes[1] * sizes[2]


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested
