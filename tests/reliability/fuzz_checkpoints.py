"""Checkpoints that are damaged or that somebody has edited: each is refused in one sentence, or is what it was."""

from __future__ import annotations

import contextlib
import copy
import io
import random
import shutil
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rrl.checkpoints import CheckpointError, read_checkpoint
from rrl.checkpoints.digest import DIGEST, digest
from rrl.cli import RRLCLI
from rrl.cli_errors import ConfigurationError
from rrl.evaluation.policies import PolicySource, load_source
from tests.conftest import PROJECT
from tests.reliability.runs import arguments, last_checkpoint, start
from tests.reliability.stops import Tally

VALUES: list[Any] = [
    None,
    -1,
    2**70,
    0.5,
    "wrong",
    "two\nlines",
    [],
    {},
    [1],
    {"x": 1},
    torch.tensor(float("nan")),
    torch.zeros(3, 3),
    torch.float64,
]
"""What is put in the place of an entry."""


TRAINED = 0.3
"""Share of the edited checkpoints that are read without complaint which are also trained on."""


def fuzz_checkpoints(count: int, seed: int, folder: Path, runs: dict[str, Path]) -> Tally:
    """Damage the last checkpoints of finished runs, by name of the algorithm, and read them as the commands do."""
    tally, generator = Tally("checkpoint"), random.Random(seed)
    bases = {algorithm: Base(algorithm, whole) for algorithm, whole in runs.items()}
    for number in range(count):
        base = bases[generator.choice(list(bases))]
        where = folder / f"case-{number}"
        where.mkdir(parents=True)
        last = Path(shutil.copy(base.files / "last.ckpt", where))
        for buffer in base.files.glob("*.buffer"):
            (where / buffer.name).symlink_to(buffer)
        damage = generator.choice([damage_bytes, edit])(last, generator)
        tally.injected += 1
        outcomes = {"evaluate": read_policy(last, base.observations), "train": base.read(last)}
        if damage.is_signed and outcomes["train"][0] == "accepted" and generator.random() < TRAINED:
            outcomes["train"] = base.go_on(last)
        for command, (verdict, said) in outcomes.items():
            tally.seen[f"{command}: {verdict}"] += 1
            if (found := objection(command, verdict, said, damage, base)) is not None:
                tally.lost.append(f"{number} {base.algorithm} {damage.what}, {command}: {found}")
        shutil.rmtree(where)
        if (number + 1) % 100 == 0:
            tally.tell()
    return tally


class Base:
    """A finished run whose last checkpoint is whole: what it does, and a command that reads checkpoints like it."""

    def __init__(self, algorithm: str, run: Path) -> None:
        self.algorithm, self.files = algorithm, last_checkpoint(run).parent
        size = len(read_checkpoint(last_checkpoint(run))["state_dict"]["protagonist.normalizer.mean"])
        self.observations = np.full((2, size), 0.1)
        verdict, self.policy = read_policy(last_checkpoint(run), self.observations)
        if verdict != "accepted":
            raise RuntimeError(f"the checkpoint of {algorithm} is {verdict}: {self.policy}")
        args = [*arguments(algorithm, trainer__max_epochs=5), "--trainer.logger=false"]
        self._args = [argument for argument in args if "logger.init_args" not in argument]
        with quiet():
            whole = f"--ckpt_path={last_checkpoint(run)}"
            self._cli = RRLCLI([*self._args, whole], PROJECT / "conf" / "defaults.yaml")

    def go_on(self, path: Path) -> tuple[str, str]:
        """Train from a checkpoint for another epoch, in a process of its own."""
        process = start([*self._args, f"--ckpt_path={path}"], path.parent)
        process.join()
        said = (path.parent / "output").read_text()
        if process.exitcode not in {0, 1, 2} or "Traceback" in said:
            return "traceback", f"exit code {process.exitcode}: {said[-500:]}"
        return ("accepted", "") if process.exitcode == 0 else ("refused", said.strip().rpartition("\n")[2])

    def read(self, path: Path) -> tuple[str, str]:
        """Read a checkpoint as ``train.py --ckpt_path`` does, up to the point at which files would be written."""
        self._cli.config.ckpt_path = str(path)
        try:
            with quiet():  # the configuration is the same for all: only what depends on the checkpoint runs anew
                self._cli.before_instantiate_classes()
                self._cli.after_instantiate_classes()
        except (ConfigurationError, CheckpointError) as error:
            return "refused", str(error)
        except (Exception, SystemExit):
            return "traceback", traceback.format_exc()[-500:]
        return "accepted", ""


def objection(command: str, verdict: str, said: str, damage: Damage, base: Base) -> str | None:
    """Say what is wrong with the outcome of a case; None where nothing is."""
    if verdict == "traceback" or "\n" in said:
        return said
    if verdict == "accepted" and damage.is_other:
        return "it was accepted"
    if verdict == "accepted" and command == "evaluate" and "nan" in said:
        return "the policy answers with nan"
    if verdict == "accepted" and command == "evaluate" and not damage.is_signed and said != base.policy:
        return "the policy is another one"
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Print nothing."""
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        warnings.simplefilter("ignore")
        yield


class Damage(NamedTuple):
    """What was done to a file."""

    what: str
    is_other: bool
    """It is whole and holds something else, which its fingerprint tells."""
    is_signed: bool
    """Its fingerprint was written anew: somebody has edited it on purpose."""


def damage_bytes(path: Path, generator: random.Random) -> Damage:
    """Damage the bytes of a file, or of the replay buffer beside it."""
    if (buffers := list(path.parent.glob("*.buffer"))) and generator.random() < 0.3:
        path = Path(shutil.move(shutil.copy(buffers[0], path.with_suffix(".copy")), buffers[0]))
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
    return Damage(f"{path.suffix}: {kind} at {place} of {len(whole)}", False, False)


def edit(path: Path, generator: random.Random) -> Damage:
    """Remove or replace an entry, and write a whole file, in half of the cases with a new fingerprint."""
    checkpoint = torch.load(path, weights_only=True)
    before = digest(checkpoint)
    place, parent, key = generator.choice(list(walk(checkpoint)))
    what = f"{place} removed"
    if generator.random() < 0.3:
        del parent[key]
    else:
        parent[key] = another(parent[key], generator)
        what = f"{place} = {' '.join(repr(parent[key]).split())[:60]}"
    is_other, is_signed = digest(checkpoint) != before, generator.random() < 0.5
    if is_signed:
        checkpoint[DIGEST] = digest(checkpoint)
    torch.save(checkpoint, path)
    return Damage(f"{what}{' (signed)' if is_signed else ''}", is_other and not is_signed, is_signed)


def another(value: Any, generator: random.Random) -> Any:
    """Return what is put in the place of a value."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and generator.random() < 0.7:
        return generator.choice([torch.full_like(value, float("nan")), value + 1.0, value.double(), value[..., None]])
    return copy.deepcopy(generator.choice(VALUES))


def walk(value: Any, place: str = "", depth: int = 5) -> Iterator[tuple[str, Any, Any]]:
    """List entries down to some depth, of long lists only the first: their names, what holds them, by which key."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, item in list(items) if depth > 0 else ():
        yield f"{place}[{key!r}]", value, key
        yield from walk(item, f"{place}[{key!r}]", depth - 1)


def read_policy(path: Path, observations: np.ndarray[Any, Any]) -> tuple[str, str]:
    """Read a policy as ``evaluate.py`` does; return ``accepted`` and what it does, or ``refused`` and what was said."""
    try:
        policy = load_source(PolicySource("method", str(path), 0))
        return "accepted", str([policy.act(observations).tolist(), policy.env_steps, dict(policy.worlds)])
    except CheckpointError as error:
        return "refused", str(error)
    except Exception:
        return "traceback", traceback.format_exc()[-500:]
