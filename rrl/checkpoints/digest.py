"""Whether a file is whole, and a fingerprint of its content: checksums do not see entries that were replaced."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

DIGEST = "digest"
"""Key of a checkpoint under which the fingerprint of all other entries lies."""


def check_whole(path: str | os.PathLike[str]) -> None:
    """Raise BadZipFile if a part of a file has not the checksum that was written with it; PyTorch does not look."""
    with zipfile.ZipFile(path) as file:
        if (part := file.testzip()) is not None:
            raise zipfile.BadZipFile(f"{part} is damaged.")


def digest(checkpoint: dict[str, Any]) -> str:
    """Return the fingerprint of all entries but the one that holds it.

    Example:
        >>> digest({"a": [1, 2.0]}) == digest({"a": [1, 2.0], "digest": "x"}) != digest({"a": [1, 2]})
        True
    """
    found = hashlib.sha256()
    for part in _parts({key: value for key, value in checkpoint.items() if key != DIGEST}):
        found.update(part)
    return found.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """Write a value down, piece by piece, so that two values differ where types, order or bits do."""
    if isinstance(value, Tensor):
        yield f"<{value.dtype} {list(value.shape)}>".encode()
        plain = value.float() if value.dtype == torch.bfloat16 else value  # which NumPy does not know
        yield plain.detach().cpu().numpy().tobytes()
    elif isinstance(value, dict):
        yield b"{"
        for key, item in value.items():
            yield from (f"{key!r}:".encode(), *_parts(item))
        yield b"}"
    elif isinstance(value, (list, tuple)):
        yield f"{type(value).__name__}[".encode()
        for item in value:
            yield from _parts(item)
        yield b"]"
    else:
        yield f"{value!r},".encode()
