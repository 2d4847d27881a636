"""How environment data reaches training.

- ``rollouts``: fresh rollouts of the policy in training.
- ``trajectories``: rollouts, windows of all experience and start states for a Dyna loop.
"""

from rrl.data.rollouts import RolloutDataModule, RolloutDataset
from rrl.data.trajectories import TrajectoryDataModule

__all__ = ["RolloutDataModule", "RolloutDataset", "TrajectoryDataModule"]
