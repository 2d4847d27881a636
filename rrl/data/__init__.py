"""How environment data reaches training."""

from rrl.data.rollouts import RolloutDataModule, RolloutDataset
from rrl.data.trajectories import TrajectoryDataModule

__all__ = ["RolloutDataModule", "RolloutDataset", "TrajectoryDataModule"]
