"""The console command: ``rrl train``, ``rrl evaluate``, ``rrl study``, ...; ``python -m rrl.main`` does the same."""

from __future__ import annotations

import os
import pkgutil
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple, cast

# The networks are tiny and MuJoCo's own threads need the cores: more than one thread per tensor operation costs more in
# waiting than it gains. Must be decided before torch is imported; the environment variable overrides it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class Command(NamedTuple):
    """A subcommand."""

    function: str
    """``module:function``, which takes the arguments and returns the exit code; imported when it is called."""
    help: str


COMMANDS = {
    "train": Command("rrl.train_command:main", "train one policy: rrl train --config conf/quickstart.yaml"),
    "evaluate": Command(
        "rrl.evaluate_command:main", "judge policies: rrl evaluate --config conf/evaluation/quick.yaml"
    ),
    "tune": Command("rrl.tune.command:main", "search settings: rrl tune CONFIG --space conf/spaces/trpo.yaml"),
    "export": Command(
        "rrl.export:main", "a policy for a robot: rrl export runs/<run>/checkpoints/last.ckpt policy.onnx"
    ),
    "study": Command(
        "rrl.study.command:main", "methods x tasks x seeds, to the report: rrl study conf/studies/smoke.yaml"
    ),
    "zoo": Command("rrl.zoo.command:main", "policies that come with rrl, zoo:NAME in place of a checkpoint: rrl zoo"),
    "deliver": Command("rrl.tracking.deliver:main", "send to MLflow what runs could not send: rrl deliver"),
}


def main(args: list[str] | None = None) -> int:
    """Run the subcommand that the arguments, by default those of the process, begin with; return its exit code."""
    args = sys.argv[1:] if args is None else args
    name, *rest = args or ["--help"]
    if name in {"-h", "--help"}:
        width = max(map(len, COMMANDS))
        lines = [f"  {command:<{width}}  {about.help}" for command, about in COMMANDS.items()]
        sys.stdout.write("usage: rrl COMMAND ...\n\n" + "\n".join(lines) + "\n\nrrl COMMAND --help says more.\n")
        return 0
    if name not in COMMANDS:
        from rrl.checks import suggestion

        sys.stderr.write(f"rrl: error: There is no command '{name}'{suggestion(name, COMMANDS)}\n")
        return 2
    # Classes and policies of the user may lie in the working folder.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    function = _loaded(COMMANDS[name].function)
    code: int = function(rest)
    return code


def _loaded(function: str) -> Callable[[list[str]], int]:
    """Import the function of a command; Ctrl-C meanwhile ends the process without a word."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return cast("Callable[[list[str]], int]", pkgutil.resolve_name(function))
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
