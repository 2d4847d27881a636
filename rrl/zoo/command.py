"""The command line of the zoo: ``rrl zoo`` lists the shipped policies, ``rrl zoo NAME`` says all about one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rrl.checks import suggestion
from rrl.options import OptionParser
from rrl.zoo.cards import RULE, read_cards, table

DESCRIPTION = """Trained policies that come with rrl; zoo:NAME stands wherever the path of a checkpoint may.

rrl zoo lists them with their row of the report, rrl zoo NAME says all about one.
"""


def main(args: Sequence[str]) -> int:
    """List the policies, or print the card of one; the exit code is 2 for a name that is not there."""
    parser = OptionParser(prog="rrl zoo", description=DESCRIPTION)
    parser.add_argument("name", nargs="?", help="such as hopper/adrrl")
    try:
        name, cards = parser.parse_args(list(args)).name, read_cards()
    except ValueError as error:
        sys.stderr.write(f"rrl zoo: error: {error}\n")
        return 2
    if name is None:
        sys.stdout.write(f"{table(cards)}\n\nseed: {RULE}; falls: of the episodes in the cells\n")
        return 0
    name = name.removeprefix("zoo:")
    if name not in cards:
        sys.stderr.write(f"rrl zoo: error: The zoo has no policy '{name}'{suggestion(name, cards)}\n")
        return 2
    sys.stdout.write(f"{cards[name].text(name)}\n")
    return 0
