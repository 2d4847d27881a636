"""From environments to tensors.

- ``collector``: rollouts of the current policy.
- ``attacks``: what disturbs a rollout: an adversary's forces, or actions drawn by chance.
- ``buffer``: windows of real experience and start states.
"""

from rrl.rollout.buffer import StartStates, TrajectoryBuffer
from rrl.rollout.collector import RolloutCollector

__all__ = ["RolloutCollector", "StartStates", "TrajectoryBuffer"]
