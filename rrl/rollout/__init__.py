"""From environments to tensors."""

from rrl.rollout.buffer import TrajectoryBuffer
from rrl.rollout.collector import RolloutCollector

__all__ = ["RolloutCollector", "TrajectoryBuffer"]
