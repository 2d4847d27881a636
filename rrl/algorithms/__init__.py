"""The algorithms as LightningModules.

- ``base``: what all share: the update of one player.
- ``trpo``: TRPO, the baseline.
"""

from rrl.algorithms.base import RLModule
from rrl.algorithms.trpo import TRPO

__all__ = ["TRPO", "RLModule"]
