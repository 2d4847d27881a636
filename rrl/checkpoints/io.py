"""Writing a checkpoint so that it is whole or absent, with its replay buffer in a file of its own."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from rrl.checkpoints.digest import DIGEST, check_whole, digest
from rrl.checkpoints.loading import CheckpointError

BUFFER_FILE = "buffer_file"
"""Key of a checkpoint under which the file beside it is named that holds its replay buffers."""
BUFFER = "buffer"
"""Key of a process's part of a DataModule's state under which its replay buffer lies."""
UNFINISHED = re.compile(r"\..+\.(ckpt|buffer)\.\d+")
"""Name of a file that is being written."""
BUFFER_NAME = re.compile(r".+\.[0-9a-f]{8}\.buffer")
"""Name of the file of a replay buffer."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints to local disks in one indivisible step.

    The file is written under another name *in the target's folder*, forced to the disk and renamed, and the new name
    is forced to the disk before what it replaces is removed. Lightning's own writer goes through the temporary folder:
    where that is another file system its last step is a copy, and a kill at the wrong moment leaves half a checkpoint
    in place of a good one.

    Replay buffers, the bulk of a checkpoint that only a continued run needs, go to a file beside it. Each has a name of
    its own and is written before the checkpoint that names it; that of the checkpoint before is removed after.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint of plain types and tensors; its folder is created."""
        if storage_options is not None:
            raise TypeError(f"`storage_options` must be None, got {storage_options!r}.")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        buffers = [state.pop(BUFFER, None) for state in _process_states(checkpoint)]
        if any(buffer is not None for buffer in buffers):
            checkpoint[BUFFER_FILE] = f"{target.stem}.{uuid.uuid4().hex[:8]}.buffer"
            _write(buffers, target.with_name(checkpoint[BUFFER_FILE]))
        checkpoint[DIGEST] = digest(checkpoint)
        try:
            _write(checkpoint, target)
        except BaseException:
            if BUFFER_FILE in checkpoint:
                target.with_name(checkpoint[BUFFER_FILE]).unlink(missing_ok=True)
            raise
        for file in target.parent.glob(f"{glob.escape(target.stem)}.*.buffer"):
            if file.name != checkpoint.get(BUFFER_FILE):
                file.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint with its replay buffers."""
        checkpoint: dict[str, Any] = super().load_checkpoint(Path(path), map_location, weights_only)
        require_buffer(checkpoint, path)
        if name := checkpoint.pop(BUFFER_FILE, None):
            buffers = torch.load(Path(path).with_name(name), map_location="cpu", weights_only=True)
            for state, buffer in zip(_process_states(checkpoint), buffers, strict=True):
                state |= {} if buffer is None else {BUFFER: buffer}
        return checkpoint


def require_buffer(checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError unless the replay buffer of a checkpoint lies beside it, undamaged, where it has one."""
    name = checkpoint.get(BUFFER_FILE)
    if name is None:
        return
    if not (Path(str(name)).name == name and Path(path).with_name(name).is_file()):
        raise CheckpointError(
            f"The replay buffer {name} that belongs to {path} is not beside it; a run needs it to go on."
        )
    try:
        check_whole(Path(path).with_name(name))
    except Exception as error:  # whatever `zipfile` finds in the way
        raise CheckpointError(f"The replay buffer {name} that belongs to {path} is damaged.") from error


def remove_leftovers(folder: Path) -> None:
    """Remove what an earlier process was writing when it was killed, and replay buffers that no checkpoint names."""
    for path in folder.glob(".*"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)
    checkpoints = [*folder.glob("*.ckpt")]
    buffers = [path for path in folder.glob("*.buffer") if BUFFER_NAME.fullmatch(path.name)]
    if len(buffers) <= len(checkpoints):
        return
    try:
        named = {torch.load(path, map_location="cpu", weights_only=True).get(BUFFER_FILE) for path in checkpoints}
    except Exception:  # torch raises half a dozen unrelated types; nobody knows what a damaged one names
        return
    for buffer in buffers:
        if buffer.name not in named:
            buffer.unlink(missing_ok=True)


def _process_states(checkpoint: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Find each process's part of the state of the DataModule."""
    for value in checkpoint.values():
        if isinstance(value, dict):
            yield from (state for state in value.get("ranks", []) if isinstance(state, dict))


def _write(content: Any, target: Path) -> None:
    # Not `mkstemp`, whose files nobody else may read.
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # PyTorch's writer complains of its unfinished file instead of what has interrupted it.
        if isinstance(error, RuntimeError) and isinstance(error.__context__, (KeyboardInterrupt, OSError)):
            raise error.__context__ from error
        raise
    with contextlib.suppress(OSError):  # not all file systems can
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # or a power cut may leave the old name
        finally:
            os.close(folder)
