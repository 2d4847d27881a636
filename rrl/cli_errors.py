"""Bad input, said in one sentence."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import yaml


class ConfigurationError(ValueError):
    """Input that cannot be run; the message is one line for the user."""


def one_sentence(error):
    return repr(error) + "\n" + str(error)


def given_keys(args: list[str]) -> set[str]:
    return set()
