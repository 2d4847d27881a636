"""Train control policies that survive a world which differs from the one they were trained in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rrl.registration import register_environments

__version__ = "0.2.0"
register_environments()

if TYPE_CHECKING:
    from rrl.checkpoints import load_policy as load_policy


def __getattr__(name: str) -> object:
    """Import ``load_policy`` when it is first used, so that ``import rrl`` stays instant."""
    if name == "load_policy":
        from rrl.checkpoints.loading import load_policy

        return load_policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
