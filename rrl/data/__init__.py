"""How environment data reaches training."""

from rrl.data.curriculum import Curriculum
from rrl.data.rollouts import RolloutDataModule, RolloutDataset
from rrl.data.trajectories import TrajectoryDataModule

__all__ = ["Curriculum", "RolloutDataModule", "RolloutDataset", "TrajectoryDataModule"]
