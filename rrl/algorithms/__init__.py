"""The algorithms as LightningModules."""

from rrl.algorithms.adrrl import ADRRL
from rrl.algorithms.base import RLModule
from rrl.algorithms.rarl import RARL
from rrl.algorithms.rcadrrl import RCADRRL
from rrl.algorithms.rcrarl import RCRARL
from rrl.algorithms.trpo import TRPO

__all__ = ["ADRRL", "RARL", "RCADRRL", "RCRARL", "TRPO", "RLModule"]
