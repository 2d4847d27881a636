"""Rows of an evaluation as CSV and Parquet files."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrl.evaluation.results import CellResult

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = tuple(field.name for field in fields(CellResult))
PARSERS = {"str": str, "int": int, "float": float, "CellKind": str}
"""How a column is read back, by the annotation of its field."""
READERS = tuple(PARSERS[str(field.type)] for field in fields(CellResult))


class ResultStoreError(ValueError):
    """Results that cannot be written or read; the message is one line for the user."""


def read_rows(path: str | os.PathLike[str]) -> list[CellResult]:
    """Read rows from a CSV or Parquet file.

    Args:
        path: A file written by :class:`ResultStore` or :func:`write_rows`.

    Returns:
        The rows. A last line that was torn off is dropped.

    Raises:
        ResultStoreError: If the file is missing, damaged, or from another version.
    """
    path = Path(path)
    if not path.is_file():
        raise ResultStoreError(f"There are no results at {path}.")
    if path.suffix != ".parquet":
        return read_csv(path)[0]
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # Arrow's errors are of both kinds
        raise ResultStoreError(f"{path} is not a Parquet file, or is damaged.") from error
    _check_header(path, list(frame.columns))
    return [_parse([str(value) for value in values]) for values in frame.itertuples(index=False)]


def write_rows(rows: Sequence[CellResult], path: str | os.PathLike[str]) -> Path:
    """Write rows to a CSV or Parquet file.

    Args:
        rows: The rows.
        path: The file; ``.parquet`` or ``.csv`` chooses the format.

    Returns:
        The path.

    Raises:
        ValueError: If the file has another ending.
    """
    path = Path(path)
    if path.suffix not in {".csv", ".parquet"}:
        raise ValueError(f"`path` must end with .csv or .parquet, got {path}.")
    if path.suffix == ".parquet":
        to_frame(rows).to_parquet(path, index=False)
    else:
        path.write_text(
            "".join(csv_line(values) for values in (COLUMNS, *map(astuple, rows))), encoding="utf-8", newline=""
        )
    return path


def to_frame(rows: Sequence[CellResult]) -> DataFrame:
    """Put rows into a table.

    Args:
        rows: The rows.

    Returns:
        One row each, with the columns of :class:`~rrl.evaluation.results.CellResult`.
    """
    import pandas as pd

    return pd.DataFrame([astuple(row) for row in rows], columns=list(COLUMNS))


def read_csv(path: Path) -> tuple[list[CellResult], int]:
    """Read a CSV file whose last line may have been torn off.

    Args:
        path: The file.

    Returns:
        The rows of the whole lines, and how many bytes these take.

    Raises:
        ResultStoreError: If a line in the middle is damaged, or the columns are those of another version.
    """
    whole, newline, _ = path.read_bytes().rpartition(b"\n")
    if not newline:
        return [], 0
    lines = list(csv.reader(io.StringIO(whole.decode("utf-8", errors="replace"), newline="")))
    _check_header(path, lines[0])
    rows = []
    for number, values in enumerate(lines[1:], start=2):
        try:
            rows.append(_parse(values))
        except ValueError as error:
            raise ResultStoreError(f"Line {number} of {path} is damaged; remove that line to go on.") from error
    return rows, len(whole) + 1


def _check_header(path: Path, header: Sequence[str]) -> None:
    if tuple(header) != COLUMNS:
        raise ResultStoreError(f"{path} does not have the columns of this version's results.")


def _parse(values: Sequence[str]) -> CellResult:
    columns: dict[str, Any] = {
        name: reader(value) for name, reader, value in zip(COLUMNS, READERS, values, strict=True)
    }
    return CellResult(**columns)


def csv_line(values: Sequence[object]) -> str:
    """Write values as a line of a CSV file.

    Args:
        values: Numbers are written with all their digits.

    Returns:
        The line, with its line feed.
    """
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()
