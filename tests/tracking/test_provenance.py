"""Names of runs."""

from __future__ import annotations

import re

from rrl.tracking.provenance import new_run_name


def test_run_names_say_what_runs_and_differ():
    first, second = (new_run_name("rrl.algorithms.ADRRL", "gymnasium/Walker2d-v5", 3) for _ in range(2))
    assert re.fullmatch(r"adrrl-walker2d-s3-\d{8}-\d{6}-[0-9a-f]{4}", first)
    assert first != second


def test_run_name_without_an_environment_is_still_a_name():
    assert new_run_name("TRPO", "", 0).startswith("trpo-s0-")
