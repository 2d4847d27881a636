"""Options of the smaller commands: what is wrong with them is said in one sentence."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from rrl.checks import suggestion


class OptionParser(argparse.ArgumentParser):
    """A parser whose complaints are a ValueError of one sentence, with the option that was meant if one is near."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the complaint."""
        raise ValueError(f"{message[:1].upper()}{message[1:]}. See --help.")

    def parse_known_args(  # type: ignore[override]  # one signature for all of its overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse; options that are not there are named before those that are missing."""
        known = [name for action in self._actions for name in action.option_strings]
        for name in (argument.partition("=")[0] for argument in args or [] if argument.startswith("--")):
            if name not in known:
                raise ValueError(f"There is no option {name}{suggestion(name, known)} See --help.")
        return super().parse_known_args(args, namespace)
