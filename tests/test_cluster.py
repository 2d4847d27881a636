"""Calls on a Ray cluster: what they return and raise, and what becomes of those whose process dies."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from rrl.cluster import KilledError, RayCluster, WorkerError, require_address


def product(a: int, b: int) -> int:
    return a * b


def folder_and_variable() -> tuple[str, str]:
    return os.getcwd(), os.environ["MLFLOW_TRACKING_URI"]


def refuse() -> None:
    raise ValueError("`alpha` must lie in (0, 1], got 7.0.")


def die_once(mark: str) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_interrupt(mark: str) -> None:
    Path(mark).write_text("began")
    try:
        while True:
            time.sleep(0.1)
    except KeyboardInterrupt:
        Path(mark).write_text("interrupted")
        raise


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rrl.cluster.RETRIES", 1)  # each takes a process that has to start
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # where a local cluster keeps its token
        with RayCluster("local", 2) as cluster:
            yield cluster


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, which are many
def test_calls_are_made_in_this_folder_and_return_and_raise_what_they_would_here(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    assert [cluster.submit(product, 3, number).result() for number in range(3)] == [0, 3, 6]
    assert cluster.submit(folder_and_variable).result() == (str(tmp_path), "http://somewhere")
    with pytest.raises(ValueError, match=r"^`alpha` must lie in \(0, 1\], got 7\.0\.$"):
        cluster.submit(refuse).result()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_call_whose_process_dies_is_made_again_but_not_for_ever(cluster, tmp_path):
    assert cluster.submit(die_once, str(tmp_path / "mark")).result() == "alive"
    with pytest.raises(KilledError, match="killed again and again"):
        cluster.submit(die).result()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_end_of_a_cluster_interrupts_what_runs_and_begins_nothing_more(cluster, tmp_path):
    marks = [tmp_path / str(number) for number in range(3)]
    for mark in marks:
        cluster.submit(wait_for_interrupt, str(mark))
    while sum(mark.exists() for mark in marks) < 2:
        time.sleep(0.1)
    cluster.interrupt()
    assert sorted(mark.read_text() for mark in marks if mark.exists()) == ["interrupted", "interrupted"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", r"There is no Ray cluster at 127\.0\.0\.1:9 \(.*refused\)\."),
        ("nowhere", r"`ray` must be HOST:PORT of a Ray cluster, auto or local, got 'nowhere'\."),
        ("host:port", r"`ray` must be HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster_is_said_at_once(address, message):
    pytest.importorskip("ray")
    start = time.monotonic()
    with pytest.raises(WorkerError, match=message):
        require_address(address)
    assert time.monotonic() - start < 10


def test_without_ray_the_way_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkerError, match=r"`pip install ray`"):
        require_address("local")
