"""A folder of results that grows row by row, and that an interrupted evaluation goes on with."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple

from rrl.evaluation.result_files import COLUMNS, ResultStoreError, csv_line, read_csv
from rrl.evaluation.results import CellResult


class CellKey(NamedTuple):
    """Which row it is: no two rows of an evaluation share it."""

    method: str
    policy: str
    train_seed: int
    cell: str

    @classmethod
    def of(cls, row: CellResult) -> CellKey:
        """Read the key of a row.

        Args:
            row: The row.

        Returns:
            Its key.
        """
        return cls(row.method, row.policy, row.train_seed, row.cell)


class ResultStore:
    """A folder that gathers rows, so that an evaluation that was interrupted goes on where it stopped.

    A row is written with one system call as soon as it is added. If the process is killed within that call, the line
    has no end, and it is dropped when the folder is opened again. One process writes at a time; a lock sees to that.

    Args:
        folder: The folder; made if it is not there. Rows are in ``cells.csv``, the settings in ``settings.json``.
        settings: What makes rows comparable, by name: environment, suite (with its cells, as a suite of the same name
            may have changed), episodes, seed. Strings and numbers.

    Raises:
        ResultStoreError: If another process is writing to the folder, or it holds rows made with other settings, cannot
            be read or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, str | int | float]) -> None:
        self.path = Path(folder) / "cells.csv"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _lock(self.path.with_name(".lock"))
            _check_settings(self.path.with_name("settings.json"), dict(settings))
            rows, size = read_csv(self.path) if self.path.exists() else ([], 0)
            if size == 0:
                self._size = _append(self.path, csv_line(COLUMNS), 0)
            else:
                os.truncate(self.path, size)
                self._size = size
        except OSError as error:
            raise ResultStoreError(f"{folder} cannot hold results: {error.strerror}.") from error
        self._rows = {CellKey.of(row): row for row in rows}

    def done(self, key: CellKey) -> bool:
        """Say whether a row is there already.

        Args:
            key: Its key.

        Returns:
            True if it need not be computed.
        """
        return key in self._rows

    def add(self, row: CellResult) -> None:
        """Write a row.

        Args:
            row: A row whose key is not there yet.

        Raises:
            ResultStoreError: If its key is there, a text in it has a line break, or the disk is full. Rows that have
                been written stay.
        """
        key = CellKey.of(row)
        if self.done(key):
            raise ResultStoreError(f"{self.path} already holds the cell '{row.cell}' of {row.policy}.")
        line = csv_line(astuple(row))
        if "\n" in line[:-1] or "\r" in line:
            raise ResultStoreError(f"Names in results must not contain line breaks, got {key!r}.")
        try:
            self._size = _append(self.path, line, self._size)
        except OSError as error:
            raise ResultStoreError(
                f"{self.path} cannot be written ({error.strerror}); the finished cells ({len(self._rows)}) are kept."
            ) from error
        self._rows[key] = row

    def rows(self) -> list[CellResult]:
        """List the rows.

        Returns:
            All rows, in the order in which they were added.
        """
        return list(self._rows.values())


def _lock(path: Path) -> None:
    """Keep other processes out until this one ends, however it does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(descriptor)
        raise ResultStoreError(f"Another evaluation is writing to {path.parent}.") from error


def _check_settings(path: Path, settings: dict[str, str | int | float]) -> None:
    """Write the settings of a new folder, or compare those of an old one."""
    if not path.exists():
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultStoreError(f"{path} is damaged; choose another folder or remove this one.") from error
    for name in before.keys() | settings.keys():
        old, new = before.get(name), settings.get(name)
        if old != new:
            raise ResultStoreError(
                f"The results in {path.parent} were made with `{name}` {old!r}, not {new!r};"
                " choose another folder or remove this one."
            )


def _append(path: Path, line: str, size: int) -> int:
    """Write a line at the end of a file of a given size, wholly or not at all, and return the new size."""
    data = line.encode("utf-8")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        os.lseek(descriptor, size, os.SEEK_SET)
        rest = data
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise
    finally:
        os.close(descriptor)
    return size + len(data)
