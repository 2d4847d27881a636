"""Results survive interruptions, full disks and round trips."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys

import pandas as pd
import pytest

from rrl.evaluation.rows import CellKey, PolicyLabel
from rrl.evaluation.store import ResultStore, ResultStoreError, read_csv, to_frame, write_rows
from tests.conftest import PROJECT
from tests.evaluation.synthetic_results import cell_result

SETTINGS = {"suite": "quick", "episodes": 10, "seed": 0}


def same(first, second):
    """Whether rows are equal, where not a number equals itself."""
    return list(map(repr, first)) == list(map(repr, second))


def test_rows_come_back_with_all_their_digits(tmp_path):
    rows = [cell_result(cell=f'name, with "quotes" {k} é', return_mean=math.pi * 10**k) for k in (-12, 0, 12)]
    rows.append(cell_result(return_mean=-math.inf, forward_distance=math.nan))
    store = ResultStore(tmp_path, SETTINGS)
    for row in rows:
        store.add(row)
    assert same(store.rows.values(), rows)
    assert same(ResultStore(tmp_path, SETTINGS).rows.values(), rows)
    assert same(read_csv(tmp_path / "cells.csv")[0], rows)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_files_of_both_formats_round_trip(tmp_path, name):
    rows = [cell_result(cell="a", value_2=math.nan, return_mean=1 / 3), cell_result(cell="<b>", axis_1="")]
    path = write_rows(rows, tmp_path / name)
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else to_frame(read_csv(path)[0])
    pd.testing.assert_frame_equal(frame, to_frame(rows), check_exact=True, check_dtype=False)


def test_no_other_format_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must end with \.csv or \.parquet"):
        write_rows([cell_result()], tmp_path / "rows.json")


def test_table_has_a_column_for_each_field():
    frame = to_frame([cell_result(), cell_result(cell="b")])
    assert frame.shape == (2, 20)
    assert frame["cell"].tolist() == ["mass=1", "b"]


def test_only_what_was_added_is_done(tmp_path):
    store = ResultStore(tmp_path, SETTINGS)
    row = cell_result()
    assert row.key not in store.rows
    store.add(row)
    assert CellKey(PolicyLabel("TRPO", "runs/trpo-s0/last.ckpt", 0), "mass=1") in store.rows
    assert CellKey(PolicyLabel("TRPO", "runs/trpo-s0/last.ckpt", 1), "mass=1") not in store.rows


@pytest.mark.parametrize("lost", [1, 5, 60])
def test_torn_last_line_is_dropped_and_can_be_added_again(tmp_path, lost):
    store = ResultStore(tmp_path, SETTINGS)
    rows = [cell_result(cell=name) for name in "abc"]
    for row in rows:
        store.add(row)
    os.truncate(store.path, store.path.stat().st_size - lost)
    assert same(read_csv(store.path)[0], rows[:2])
    resumed = ResultStore(tmp_path, SETTINGS)
    assert same(resumed.rows.values(), rows[:2])
    resumed.add(rows[2])
    assert same(read_csv(store.path)[0], rows)


@pytest.mark.parametrize("size", [0, 7])
def test_folder_whose_heading_was_torn_starts_anew(tmp_path, size):
    path = ResultStore(tmp_path, SETTINGS).path
    os.truncate(path, size)
    ResultStore(tmp_path, SETTINGS).add(cell_result())
    assert len(read_csv(path)[0]) == 1


def test_one_process_writes_and_kill_leaves_whole_rows(tmp_path):
    script = f"""
import itertools, sys
sys.path.insert(0, {str(PROJECT)!r})
from rrl.evaluation.store import ResultStore
from tests.evaluation.synthetic_results import cell_result
store = ResultStore({str(tmp_path)!r}, {SETTINGS!r})
for k in itertools.count():
    store.add(cell_result(cell=str(k)))
    print(k, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        reported = [int(process.stdout.readline()) for _ in range(50)]
        with pytest.raises(ResultStoreError, match="Another evaluation is writing to"):
            ResultStore(tmp_path, SETTINGS)
        process.kill()
    cells = [row.cell for row in ResultStore(tmp_path, SETTINGS).rows.values()]
    assert cells == [str(k) for k in range(len(cells))]
    assert len(cells) > reported[-1]


@pytest.mark.parametrize(("name", "value"), [("suite", "rrls"), ("episodes", 30), ("seed", 1)])
def test_folder_with_other_settings_is_refused_in_one_sentence(tmp_path, name, value):
    ResultStore(tmp_path, SETTINGS)
    with pytest.raises(ResultStoreError) as refusal:
        ResultStore(tmp_path, SETTINGS | {name: value})
    assert str(refusal.value) == (
        f"The results in {tmp_path} were made with `{name}` {SETTINGS[name]!r}, not {value!r};"
        " choose another folder or remove this one."
    )


def test_full_disk_is_one_line_and_finished_cells_stay(tmp_path, monkeypatch):
    store = ResultStore(tmp_path, SETTINGS)
    store.add(cell_result())
    size = store.path.stat().st_size
    with monkeypatch.context() as patch:
        whole_write = os.write

        def write_to_a_full_disk(descriptor, data):
            if store.path.stat().st_size > size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return whole_write(descriptor, data[:20])

        patch.setattr(os, "write", write_to_a_full_disk)
        with pytest.raises(
            ResultStoreError, match=r"No space left on device.*the finished cells \(1\) are kept"
        ) as ending:
            store.add(cell_result(cell="b"))
    assert isinstance(ending.value.__cause__, OSError)
    assert ending.value.__cause__.errno == errno.ENOSPC
    assert same(read_csv(store.path)[0], [cell_result()])
    store.add(cell_result(cell="b"))
    assert len(read_csv(store.path)[0]) == 2


def test_damaged_line_in_the_middle_is_named(tmp_path):
    store = ResultStore(tmp_path, SETTINGS)
    for name in "abc":
        store.add(cell_result(cell=name))
    lines = store.path.read_text().splitlines(keepends=True)
    store.path.write_text("".join([lines[0], lines[1], "torn\n", lines[3]]))
    with pytest.raises(ResultStoreError, match=r"Line 3 of .*cells.csv is damaged"):
        ResultStore(tmp_path, SETTINGS)


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ResultStoreError, match="does not have the columns"):
        read_csv(path)


def test_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResultStoreError, match="cannot hold results"):
        ResultStore(tmp_path / "file", SETTINGS)


def test_same_cell_twice_and_line_breaks_are_refused(tmp_path):
    store = ResultStore(tmp_path, SETTINGS)
    store.add(cell_result())
    with pytest.raises(ResultStoreError, match="already holds the cell 'mass=1'"):
        store.add(cell_result())
    with pytest.raises(ResultStoreError, match="line breaks"):
        store.add(cell_result(cell="a\nb"))
