"""Checkpoints that are damaged or that somebody has edited: each is refused in one sentence, or is what it was."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import random
import shutil
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rrl.checkpoints import CheckpointError, Policy, actor_of, build_algorithm, read_checkpoint
from rrl.checkpoints.digest import digest
from rrl.cli import RRLCLI
from rrl.cli_errors import ConfigurationError
from tests.conftest import PROJECT
from tests.reliability.runs import arguments, last_checkpoint
from tests.reliability.stops import Tally

VALUES: list[Any] = [
    None,
    -1,
    2**70,
    0.5,
    "wrong",
    [],
    {},
    [1],
    {"x": 1},
    torch.tensor(float("nan")),
    torch.zeros(3, 3),
]
"""What is put in the place of an entry."""


def fuzz_checkpoints(count: int, seed: int, folder: Path, runs: dict[str, Path]) -> Tally:
    """Damage the last checkpoints of finished runs, by name of the algorithm, and read them as the commands do."""
    tally, generator = Tally("checkpoint"), random.Random(seed)
    for number in range(count):
        algorithm = generator.choice(list(runs))
        where = folder / f"case-{number}"
        shutil.copytree(last_checkpoint(runs[algorithm]).parent, where / "runs" / "run" / "checkpoints")
        last = last_checkpoint(where)
        observation = np.zeros(len(read_checkpoint(last)["state_dict"]["protagonist.normalizer.mean"]), np.float32)
        whole = read_policy(last, observation)[1]
        what, is_other = generator.choice([damage_bytes, damage_bytes, edit])(last, generator)
        tally.injected += 1
        for command, (verdict, said) in {
            "evaluate": read_policy(last, observation),
            "train": go_on(algorithm, where),
        }.items():
            tally.seen[f"{command}: {verdict}"] += 1
            if verdict == "traceback" or "\n" in said:
                tally.lost.append(f"{number} {algorithm} {what}, {command}: {said}")
            elif verdict == "accepted" and said != whole and command == "evaluate":
                tally.lost.append(f"{number} {algorithm} {what}: the policy is another one")
            elif verdict == "accepted" and command == "train" and is_other:
                tally.lost.append(f"{number} {algorithm} {what}: the run went on")
        shutil.rmtree(where)
    return tally


def damage_bytes(path: Path, generator: random.Random) -> tuple[str, bool]:
    """Damage the bytes of a file; say how, and whether another content can come of it: its digest would not fit."""
    whole = path.read_bytes()
    content, place = bytearray(whole), generator.randrange(len(whole))
    kind = generator.choice(["flip", "cut", "zeros", "shift", "longer"])
    if kind == "flip":
        content[place] ^= 1 << generator.randrange(8)
    elif kind == "cut":
        del content[place:]
    elif kind == "zeros":
        content[place : place + 512] = bytes(len(content[place : place + 512]))
    elif kind == "shift":
        content[place:place] = b"\x07"
    else:
        content += generator.randbytes(100)
    path.write_bytes(bytes(content))
    return f"{kind} at {place} of {len(whole)}", False


def edit(path: Path, generator: random.Random) -> tuple[str, bool]:
    """Remove or replace an entry, and write a whole file; say which, and whether that has changed anything."""
    checkpoint = torch.load(path, weights_only=True)
    before = digest(checkpoint)
    entries = list(walk(checkpoint))
    place, parent, key = generator.choice(entries)
    if generator.random() < 0.3:
        del parent[key]
        torch.save(checkpoint, path)
        return f"{place} removed", digest(checkpoint) != before
    old = parent[key]
    value = copy.deepcopy(generator.choice(VALUES))
    if isinstance(old, torch.Tensor) and old.is_floating_point() and generator.random() < 0.5:
        value = torch.full_like(old, float("nan"))
    parent[key] = value
    torch.save(checkpoint, path)
    return f"{place} = {value!r}", digest(checkpoint) != before


def walk(value: Any, place: str = "", depth: int = 5) -> Iterator[tuple[str, Any, Any]]:
    """List entries down to some depth: their names, what holds them, and by which key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items) if depth > 0 else ():
        yield f"{place}[{key!r}]", value, key
        yield from walk(item, f"{place}[{key!r}]", depth - 1)


def read_policy(path: Path, observation: np.ndarray[Any, Any]) -> tuple[str, str]:
    """Read a policy as ``evaluate.py`` does; return ``accepted`` and what it does, or ``refused`` and what was said."""
    try:
        algorithm: Any = build_algorithm(read_checkpoint(path), path)
        return "accepted", str(Policy(actor_of(algorithm), algorithm.spaces).act(observation).tolist())
    except CheckpointError as error:
        return "refused", str(error)
    except Exception:
        return "traceback", traceback.format_exc()[-500:]


def go_on(algorithm: str, where: Path) -> tuple[str, str]:
    """Read a checkpoint as ``train.py --ckpt_path`` does, up to the point at which files would be written."""
    os.chdir(where)
    args = [*arguments(algorithm), f"--ckpt_path={last_checkpoint(where)}", "--trainer.logger=false"]
    args = [argument for argument in args if "logger.init_args" not in argument]
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        warnings.simplefilter("ignore")
        try:
            RRLCLI(args, PROJECT / "conf" / "defaults.yaml")
        except (ConfigurationError, CheckpointError) as error:
            return "refused", str(error)
        except (Exception, SystemExit):
            return "traceback", traceback.format_exc()[-500:]
    return "accepted", ""
