"""From environments to tensors."""

from rrl.rollout.buffer import StartStates, TrajectoryBuffer
from rrl.rollout.collector import RolloutCollector

__all__ = ["RolloutCollector", "StartStates", "TrajectoryBuffer"]
