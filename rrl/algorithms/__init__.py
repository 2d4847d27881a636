"""The algorithms as LightningModules.

- ``base``: what all share: the update of one player.
- ``preparation``: from transitions to what that update needs.
- ``trpo``: TRPO, the baseline.
- ``rarl``: RARL, the game between a protagonist and an adversary.
- ``rcrarl``: RC-RARL, the same with an adversary that a calibrated risk gates.
- ``attackers``: who exerts the forces in a rollout.
- ``adrrl``: AD-RRL, the Dyna loop on adversarially guided imagination.
- ``world_model``: AD-RRL's trajectory models as one module.
- ``imagined``: what imagined trajectories are worth, and what of them counts.
- ``mixture``: real and imagined data in one policy update.
"""

from rrl.algorithms.adrrl import ADRRL
from rrl.algorithms.base import RLModule
from rrl.algorithms.rarl import RARL
from rrl.algorithms.rcrarl import RCRARL
from rrl.algorithms.trpo import TRPO

__all__ = ["ADRRL", "RARL", "RCRARL", "TRPO", "RLModule"]
