"""Configurations that somebody has got wrong: each is refused in one sentence, or trains.

Nonsense that must not be accepted: NaN, infinity, negative numbers and words in the place of numbers, unknown settings
and classes, null where a value is needed, and whatever ends the training with a traceback.
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
import os
import random
import re
import shutil
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import train
from rrl.cli import RRLCLI
from rrl.cli_errors import ConfigurationError
from tests.conftest import PROJECT
from tests.reliability.runs import ALGORITHMS, arguments
from tests.reliability.stops import Tally

NUMBERS = [math.nan, math.inf, -math.inf, -1, 0, -0.5, 1.5, 1e300]
VALUES: dict[type, list[Any]] = {
    int: [0, -1, -(2**31), 1, 2, *NUMBERS, "wrong", None, True],
    float: [*NUMBERS, 0.0, 1.0, 1e-300, "wrong", None, [1.0]],
    str: ["", "wrong", 3, None, "eval/retrun_mean", "a\\b", "two\nlines"],
    bool: [True, False, None, 2, "wrong"],
    list: [[], [0], [-1], [math.nan], ["wrong"], None, 3, [8, [8]]],
    dict: [{}, {"wrong": 1}, None, 3, [1], "wrong"],
    type(None): [*NUMBERS, "wrong", "", [], {}, {"wrong": 1}, True],
}
"""What is put in the place of a value, by its type."""
CLASSES = [
    "TRPO",
    "RARL",
    "ADRRL",
    "RolloutDataModule",
    "TrajectoryDataModule",
    "os.system",
    "json.JSONDecoder",
    "Nope",
    "",
]
FIXED = ("trainer.", "data.init_args.env_id", "checkpoint.dirpath")
"""Settings that are not put to the test with other values: those of Lightning, and names."""
JARGON = (
    r"Expected a|<class|import path|valid subclass|Got value|functools|Parser key|Subtypes|'([^']+)'; did you mean '\1'"
)
"""Words of the parser, and advice to write what was written, that no sentence may hold."""
SECTION = " (section)"
"""What follows the name of several settings together."""
SCRAMBLED = 0.15
"""Share of the cases in which the text is damaged instead of a value."""
SIGNED = {"initial_log_std", "reward", "min_open_steps"}
"""Settings of which negative numbers mean something."""


def fuzz_configurations(count: int, seed: int, folder: Path) -> Tally:
    """Change shipped configurations at random, and train those that are accepted for one iteration."""
    tally, generator = Tally("configuration"), random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    bases = {name: resolved(name, folder) for name in ALGORITHMS}
    os.chdir(folder)
    for number in range(count):
        name = generator.choice(list(bases))
        config = copy.deepcopy(bases[name])
        text, what = dump(config), ("text", None)
        if generator.random() < SCRAMBLED:
            text = scramble(text, generator)
        else:
            what = mutate(config, generator)
            text = dump(config)
        where = folder / f"case-{number}"
        where.mkdir()
        os.chdir(where)
        verdict, said = attempt(text)
        os.chdir(folder)
        tally.injected += 1
        tally.seen[verdict] += 1
        if os.environ.get("FUZZ_VERBOSE"):
            sys.stdout.write(f"{verdict} {name} {what}: {said[:300]}\n")
        if verdict == "refused" and not names_a_setting(said, what):
            tally.seen["refused without a name"] += 1
            sys.stdout.write(f"?  {number} {name} {what}: {said}\n")
        if (found := objection(verdict, said, what, where)) is not None:
            tally.lost.append(f"{number} {name} {what}: {found}")
            sys.stdout.write(f"!! {tally.lost[-1]}\n")
            sys.stdout.flush()
        shutil.rmtree(where)
        if (number + 1) % 100 == 0:
            tally.tell()
    return tally


def resolved(algorithm: str, folder: Path) -> dict[str, Any]:
    """Return the whole configuration of a small run of one iteration, with all defaults written out."""
    sizes = {"data__iterations_per_epoch": 1, "trainer__max_epochs": 1, "data__num_steps": 24}
    more = {"model__imagination__warmup": 0, "model__imagination__guidance_warmup": 0}
    args = arguments(algorithm, **sizes, **(more if "ADRRL" in algorithm else {}))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        train.main([*args, "--print_config"])
    config: dict[str, Any] = yaml.safe_load(printed.getvalue())
    config["trainer"] |= {"logger": False, "plugins": None}
    return {name: value for name, value in config.items() if name != "ckpt_path"}


def mutate(config: dict[str, Any], generator: random.Random) -> tuple[str, Any]:
    """Change a configuration in one place; return which, by dotted name, and to what."""
    leaves = [leaf for leaf in walk(config) if not leaf[0].startswith(FIXED)]
    place, parent, key = generator.choice(leaves)
    kind = generator.choices(["value", "key", "class", "none"], [16, 2, 1, 1])[0]
    if kind == "key":
        wrong = str(key)[:-1] or "x"
        parent[wrong if wrong not in parent else f"{key}x"] = parent.pop(key)
        return f"{place} misspelt", wrong
    if kind == "class":
        place, parent, key = generator.choice([leaf for leaf in leaves if leaf[2] == "class_path"])
        parent[key] = generator.choice(CLASSES)
    elif kind == "none":
        del parent[key]
        return f"{place} removed", None
    else:
        place = f"{place}{SECTION}" if parent[key] and isinstance(parent[key], dict) else place
        parent[key] = generator.choice(VALUES[type(parent[key])])
    return place, parent[key]


def scramble(text: str, generator: random.Random) -> str:
    """Damage the text of a configuration: cut it, repeat a line, or put another character somewhere."""
    position = generator.randrange(len(text))
    lines = text.splitlines(keepends=True)
    line = generator.randrange(len(lines))
    return generator.choice([
        text[:position],
        "".join([*lines[: line + 1], *lines[line:]]),
        "".join([*lines[:line], " " + lines[line], *lines[line + 1 :]]),
        text[:position] + generator.choice("\t\0:{}[]&*!|>'\"%@`#,é日-x") + text[position + 1 :],
    ])


def walk(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """List all values of a configuration, sections included: dotted name, the mapping that holds it, its key."""
    for key, value in config.items():
        yield f"{prefix}{key}", config, key
        if isinstance(value, dict):
            yield from walk(value, f"{prefix}{key}.")


def dump(config: dict[str, Any]) -> str:
    """Write a configuration down as YAML."""
    return yaml.safe_dump(config, sort_keys=False)


def attempt(text: str) -> tuple[str, str]:
    """Read a configuration and train it; return what became of it, and what was said."""
    Path("case.yaml").write_text(text, encoding="utf-8")
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            cli = RRLCLI(["--config", "case.yaml"], PROJECT / "conf" / "defaults.yaml")
        except ConfigurationError as error:
            return "refused", str(error)
        except SystemExit as error:
            return "traceback", f"SystemExit {error.code}: {said.getvalue()[-300:]}"
        except Exception:
            return "traceback", traceback.format_exc()[-600:]
        try:
            cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        except ConfigurationError as error:
            return "refused", str(error)
        except FloatingPointError as error:
            return "stopped", str(error)
        except Exception:
            return "traceback", "in training: " + traceback.format_exc()[-600:]
    return "trained", ""


def objection(verdict: str, said: str, what: tuple[str, Any], where: Path) -> str | None:
    """Say what is wrong with the outcome of a case; None where nothing is."""
    place, value = what
    if verdict == "traceback":
        return said
    if verdict == "refused":
        written = sorted(path.name for path in where.iterdir() if path.name != "case.yaml")
        if written or "\n" in said:
            return f"it wrote {written}" if written else f"more than a line: {said}"
        return f"not in plain words: {said}" if re.search(JARGON, said) else None
    is_number = isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool))
    if is_number and not math.isfinite(value):
        return f"{value} was accepted"
    if isinstance(value, list) and value in ([-1], ["wrong"], [8, [8]]):
        return f"{value} was accepted"
    if is_number and value < 0 and place.rpartition(".")[2] not in SIGNED:
        return f"{value} was accepted"
    is_wrong = isinstance(value, str) and not place.endswith("class_path")
    if is_wrong or place.endswith("misspelt") or (place.endswith(SECTION) and not isinstance(value, dict | None)):
        return f"{value!r} was accepted"
    return None


def names_a_setting(said: str, what: tuple[str, Any]) -> bool:
    """Tell whether a sentence names a setting, a class, a value or a line."""
    named = r"`[\w.]+[`:]|'[^']*'|[A-Z]\w+ (?:has|needs)|Line \d+ of"
    return bool(re.search(named, said)) or what[0].rpartition(".")[2] in said
