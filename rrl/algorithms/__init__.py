"""The algorithms as LightningModules.

- ``base``: what all share: the update of one player.
- ``trpo``: TRPO, the baseline.
- ``adrrl``: AD-RRL, the Dyna loop on adversarially guided imagination.
- ``world_model``: AD-RRL's trajectory models as one module.
"""

from rrl.algorithms.adrrl import ADRRL
from rrl.algorithms.base import RLModule
from rrl.algorithms.trpo import TRPO

__all__ = ["ADRRL", "TRPO", "RLModule"]
