r"""Put a policy into the zoo of a checkout, with its row of a report: ``python -m rrl.zoo.add``.

    python -m rrl.zoo.add hopper/adrrl --report results/adrrl/hopper --method AD-RRL \
        --command "rrl train --config conf/adrrl_hopper.yaml --trainer.max_epochs 15"

Of the method's policies in ``policies.csv`` of the report it takes the one whose mean over the cells is the median (of
an even number, the lower of the two). The file that it writes is loaded again, and must act as the checkpoint does.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rrl.checkpoints import CheckpointError, load_policy, read_checkpoint
from rrl.checkpoints.loading import worlds_of
from rrl.checkpoints.policy_only import write_policy
from rrl.checks import near_file, suggestion
from rrl.options import OptionParser
from rrl.shipped import POLICIES
from rrl.zoo.cards import Card, worlds_in_words, write_card

LARGEST = 100_000
"""Size in bytes that the file of a policy must stay under."""
Row = Mapping[str, str]


def add(name: str, report: Path, method: str, command: str, root: Path) -> Path:
    """Write checkpoint and card of a method's median policy; ``root`` is where the paths of the report begin.

    Raises:
        CheckpointError: If its checkpoint is missing or holds no policy.
        ValueError: If the report does not know the method, or the file would be too large or act otherwise.
    """
    rows = _rows_of(report / "policies.csv", method)
    row = median(rows)
    source, target = root / row["policy"], POLICIES / f"{name}.ckpt"
    content = read_checkpoint(source)
    write_policy(source, target)
    try:
        _check(source, target)
    except ValueError:
        target.unlink()
        raise
    number = {
        column: round(float(row[column]), 1) for column in ("nominal", "mean", "cvar10", "worst", "failures", "attack")
    }
    card = Card(
        method=method,
        env_id=worlds_of(content, source)["env_id"],
        seed=int(row["train_seed"]),
        seeds=len(rows),
        steps=int(row["training_steps"]),
        command=f"{command} --seed_everything {row['train_seed']}",
        worlds=worlds_in_words(content.get("datamodule_hyper_parameters", {})),
        report=report.as_posix(),
        worst_cell=row["worst_cell"],
        strongest_attack=row["strongest_attack"],
        **number,
    )
    write_card(card, target.with_suffix(".json"))
    return target


def median(rows: Sequence[Row]) -> Row:
    """Choose the policy whose mean over the cells is the median of all, of an even number the lower.

    Example:
        >>> median([{"mean": "3.0", "train_seed": "0"}, {"mean": "20.0", "train_seed": "1"}])["train_seed"]
        '0'
    """
    return sorted(rows, key=lambda row: float(row["mean"]))[(len(rows) - 1) // 2]


def _rows_of(path: Path, method: str) -> list[Row]:
    if not path.is_file():
        raise ValueError(f"There is no {path}{near_file(path)}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    methods = [row["method"] for row in rows]
    if method not in methods:
        raise ValueError(f"{path} has no method '{method}'{suggestion(method, methods)}")
    return [row for row in rows if row["method"] == method]


def _check(source: Path, target: Path) -> None:
    """Refuse a file that is too large, or whose policy acts otherwise than the one it was made from."""
    if (size := target.stat().st_size) >= LARGEST:
        raise ValueError(f"The policy of {source} takes {size:,} bytes, more than the {LARGEST:,} that one may.")
    count = read_checkpoint(target)["hyper_parameters"]["spaces"]["init_args"]["obs_dim"]
    observations = np.linspace(-5.0, 5.0, 64 * count).reshape(64, count)
    if not np.array_equal(load_policy(source).act(observations), load_policy(target).act(observations)):
        raise ValueError(f"The policy in {target} does not act as that of {source}.")


def main(args: Sequence[str] | None = None) -> int:
    """Add as the arguments say; the exit code is 2 for bad input."""
    parser = OptionParser(prog="python -m rrl.zoo.add", description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="<task>/<method>, such as hopper/adrrl")
    parser.add_argument("--report", type=Path, required=True, help="folder with policies.csv of an evaluation")
    parser.add_argument("--method", required=True, help="as the report names it")
    parser.add_argument("--command", required=True, help="what trains it, without the seed")
    parser.add_argument("--root", type=Path, default=Path(), help="folder from which the report was made")
    try:
        options = parser.parse_args(sys.argv[1:] if args is None else args)
        path = add(options.name, options.report, options.method, options.command, options.root)
    except (CheckpointError, ValueError, OSError) as error:
        sys.stderr.write(f"python -m rrl.zoo.add: error: {' '.join(str(error).split())}\n")
        return 2
    sys.stdout.write(f"policy: {path} ({path.stat().st_size:,} bytes)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
