"""Rows as CSV and Parquet files, and a folder of them that an interrupted evaluation goes on with."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrl.evaluation.rows import CellKey, CellResult

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = tuple(field.name for field in fields(CellResult))
PARSERS = {"str": str, "int": int, "float": float, "CellKind": str}
"""How a column is read back, by the annotation of its field."""
READERS = tuple(PARSERS[str(field.type)] for field in fields(CellResult))


class ResultStoreError(ValueError):
    """Results that cannot be written or read; the message is one line for the user."""


class ResultStore:
    """A folder that gathers rows, so that an evaluation that was interrupted goes on where it stopped.

    A row is written with one system call as soon as it is added. If the process is killed within that call, the line
    has no end, and it is dropped when the folder is opened again. One process writes at a time; a lock sees to that.

    Rows are in ``cells.csv``. ``settings.json`` holds what makes rows comparable, by name: environment, suite (with its
    cells, as a suite of the same name may have changed), episodes, seed. A folder with rows made with others, one that
    another process is writing to, or that cannot be read or written, is a ``ResultStoreError``.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, str | int | float]) -> None:
        self.path = Path(folder) / "cells.csv"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _lock(self.path.with_name(".lock"))
            _check_settings(self.path.with_name("settings.json"), dict(settings))
            rows, self._size = read_csv(self.path) if self.path.exists() else ([], 0)
            if self._size == 0:
                self._size = _append(self.path, _csv_line(COLUMNS), 0)
            else:
                os.truncate(self.path, self._size)
        except OSError as error:
            raise ResultStoreError(f"{folder} cannot hold results: {error.strerror}.") from error
        self.rows: dict[CellKey, CellResult] = {row.key: row for row in rows}
        """All rows, in the order in which they were added."""

    def add(self, row: CellResult) -> None:
        """Write a row; where its key is there, a text has a line break, or the disk is full: ``ResultStoreError``."""
        if row.key in self.rows:
            raise ResultStoreError(f"{self.path} already holds the cell '{row.cell}' of {row.policy}.")
        line = _csv_line(astuple(row))
        if "\n" in line[:-1] or "\r" in line:
            raise ResultStoreError(f"Names in results must not contain line breaks, got {row.key!r}.")
        try:
            self._size = _append(self.path, line, self._size)
        except OSError as error:
            raise ResultStoreError(
                f"{self.path} cannot be written ({error.strerror}); the finished cells ({len(self.rows)}) are kept."
            ) from error
        self.rows[row.key] = row


def to_frame(rows: Sequence[CellResult]) -> DataFrame:
    """Put rows into a table, with the columns of :class:`~rrl.evaluation.rows.CellResult`."""
    import pandas as pd

    return pd.DataFrame([astuple(row) for row in rows], columns=list(COLUMNS))


def write_rows(rows: Sequence[CellResult], path: str | os.PathLike[str]) -> Path:
    """Write rows to a CSV or Parquet file, by its ending, and return the path; another ending is a ValueError."""
    path = Path(path)
    if path.suffix == ".parquet":
        to_frame(rows).to_parquet(path, index=False)
    elif path.suffix == ".csv":
        lines = map(_csv_line, (COLUMNS, *map(astuple, rows)))
        path.write_text("".join(lines), encoding="utf-8", newline="")
    else:
        raise ValueError(f"`path` must end with .csv or .parquet, got {path}.")
    return path


def read_csv(path: Path) -> tuple[list[CellResult], int]:
    """Read a CSV file whose last line may have been torn off: the rows of the whole lines, and the bytes these take.

    A damaged line in the middle, or the columns of another version, are a ``ResultStoreError``.
    """
    whole, newline, _ = path.read_bytes().rpartition(b"\n")
    if not newline:
        return [], 0
    lines = list(csv.reader(io.StringIO(whole.decode("utf-8", errors="replace"), newline="")))
    if tuple(lines[0]) != COLUMNS:
        raise ResultStoreError(f"{path} does not have the columns of this version's results.")
    rows = []
    for number, values in enumerate(lines[1:], start=2):
        try:
            columns: list[Any] = [reader(value) for reader, value in zip(READERS, values, strict=True)]
        except ValueError as error:
            raise ResultStoreError(f"Line {number} of {path} is damaged; remove that line to go on.") from error
        rows.append(CellResult(*columns))
    return rows, len(whole) + 1


def append_record(path: Path, record: Mapping[str, object]) -> None:
    """Write values by column at the end of a CSV file, begun with their names if it is not there."""
    lines: list[list[object]] = [] if path.exists() else [list(record)]
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([*lines, list(record.values())])


def _csv_line(values: Sequence[object]) -> str:
    """Write values, numbers with all their digits, as a line with its line feed."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


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
    rest = data = line.encode("utf-8")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.lseek(descriptor, size, os.SEEK_SET)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise
    finally:
        os.close(descriptor)
    return size + len(data)
