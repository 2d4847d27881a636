"""A checkpoint file is whole or absent."""

from __future__ import annotations

import os

import pytest
import torch

from rrl.checkpoints import AtomicCheckpointIO


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
    assert torch.load(path, weights_only=True) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_storage_options_are_refused(tmp_path):
    with pytest.raises(TypeError, match="`storage_options` must be None"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "x", storage_options={"a": 1})
