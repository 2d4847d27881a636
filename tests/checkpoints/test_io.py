"""A checkpoint file is whole or absent."""

from __future__ import annotations

import os
import stat

import pytest
import torch

from rrl.checkpoints import AtomicCheckpointIO, CheckpointError
from rrl.checkpoints.io import remove_leftovers


def test_checkpoint_is_read_back_and_its_folder_is_made(tmp_path):
    path = tmp_path / "deep" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"x": torch.arange(3)}, path)
    assert torch.equal(AtomicCheckpointIO().load_checkpoint(path, weights_only=True)["x"], torch.arange(3))


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_failure_while_writing_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, stage):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"x": 1}, path)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, stage, fail)
    with pytest.raises(OSError, match="disk full"):
        AtomicCheckpointIO().save_checkpoint({"x": 2}, path)
    assert torch.load(path, weights_only=True)["x"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_what_interrupts_a_write_is_not_hidden_by_the_unfinished_file(interruption, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        try:
            raise interruption
        except BaseException:
            raise RuntimeError("unexpected pos 1904768 vs 1904664")  # noqa: B904

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(interruption):
        AtomicCheckpointIO().save_checkpoint({"a": 1}, tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_content_and_name_are_forced_to_the_disk(tmp_path, monkeypatch):
    forced = []
    monkeypatch.setattr(os, "fsync", lambda handle: forced.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    AtomicCheckpointIO().save_checkpoint({"a": 1}, tmp_path / "last.ckpt")
    assert forced == [False, True]


def test_storage_options_are_refused(tmp_path):
    with pytest.raises(TypeError, match="`storage_options` must be None"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "x", storage_options={"a": 1})


def trained(buffer: int) -> dict:
    ranks = [
        {"envs": 1, "buffer": {"columns": torch.full((3,), buffer)}},
        {"envs": 2, "buffer": {"columns": torch.ones(2)}},
    ]
    return {"state_dict": {}, "TrajectoryDataModule": {"ranks": ranks}}


def test_the_replay_buffer_lies_beside_the_checkpoint_and_comes_back(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(trained(7), path)
    assert all("buffer" not in rank for rank in torch.load(path, weights_only=True)["TrajectoryDataModule"]["ranks"])
    ranks = AtomicCheckpointIO().load_checkpoint(path, weights_only=True)["TrajectoryDataModule"]["ranks"]
    assert ranks[0]["buffer"]["columns"].tolist() == [7, 7, 7]
    assert (ranks[1]["envs"], ranks[1]["buffer"]["columns"].tolist()) == (2, [1, 1])


def test_only_the_buffer_of_the_present_checkpoint_is_kept(tmp_path):
    for name in ("last.ckpt", "best.ckpt", "last.ckpt"):
        AtomicCheckpointIO().save_checkpoint(trained(7), tmp_path / name)
    names = [torch.load(tmp_path / name, weights_only=True)["buffer_file"] for name in ("last.ckpt", "best.ckpt")]
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", "best.ckpt", *names}


def test_a_failed_write_keeps_the_old_checkpoint_and_its_buffer(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(trained(7), path)
    before, replace = set(tmp_path.iterdir()), os.replace

    def fail(source: object, target: object) -> None:
        if str(target).endswith(".ckpt"):
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        AtomicCheckpointIO().save_checkpoint(trained(8), path)
    assert set(tmp_path.iterdir()) == before
    ranks = AtomicCheckpointIO().load_checkpoint(path, weights_only=True)["TrajectoryDataModule"]["ranks"]
    assert ranks[0]["buffer"]["columns"][0] == 7


def test_a_checkpoint_without_its_buffer_is_read_but_not_continued(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(trained(7), path)
    for file in tmp_path.glob("*.buffer"):
        file.unlink()
    with pytest.raises(CheckpointError, match=r"replay buffer last.* that belongs to .* is not beside it"):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=True)


def test_replay_buffers_that_no_checkpoint_names_are_removed(tmp_path):
    """As a kill between the new checkpoint and the removal of the old buffer leaves them."""
    state = {"data": {"ranks": [{"buffer": torch.zeros(3)}]}}
    AtomicCheckpointIO().save_checkpoint(state, tmp_path / "last.ckpt")
    (named,) = tmp_path.glob("*.buffer")
    for name in ("last.0123abcd.buffer", "mine.buffer"):
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", named.name, "mine.buffer"}


def test_replay_buffers_stay_where_a_checkpoint_cannot_be_read(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"damaged")
    names = {"last.ckpt", "last.0123abcd.buffer", "last.4567abcd.buffer"}
    for name in names - {"last.ckpt"}:
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names
