"""Progress is counted in real environment steps."""

from __future__ import annotations

import io
import re

import pytest

import train
from rrl import progress
from tests.conftest import PROJECT

TOY = ["--config", str(PROJECT / "tests" / "conf" / "toy.yaml")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_log_file_gets_plain_lines_with_steps_and_returns(workdir, monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_INTERVAL", 0.0)
    assert train.main(TOY) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "env steps" in line]
    assert [line.split(" env steps")[0] for line in lines] == [f"{8 * n} of 64" for n in range(1, 9)]
    assert re.search(r"steps/s, return -\d+\.\d, eval -\d+\.\d$", lines[-1])


def test_log_file_is_not_flooded(workdir, capsys):
    assert train.main(TOY) == 0
    assert "env steps" not in capsys.readouterr().err


def test_terminal_gets_one_bar_that_ends_full(workdir, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert train.main(TOY) == 0
    assert "64.0/64.0" in terminal.getvalue().split("\r")[-1]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_bar_can_be_turned_off(workdir, monkeypatch, stream):
    monkeypatch.setattr(progress, "QUIET_INTERVAL", 0.0)
    silent = stream()
    monkeypatch.setattr("sys.stderr", silent)
    assert train.main([*TOY, "--trainer.enable_progress_bar", "false"]) == 0
    assert "env steps" not in silent.getvalue()
