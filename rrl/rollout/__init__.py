"""From environments to tensors.

- ``collector``: rollouts of the current policy.
- ``attacks``: the adversary's side of a rollout.
- ``random_actions``: executed actions that are drawn instead of chosen.
- ``buffer``: windows of real experience and start states.
"""

from rrl.rollout.buffer import StartStates, TrajectoryBuffer
from rrl.rollout.collector import RolloutCollector

__all__ = ["RolloutCollector", "StartStates", "TrajectoryBuffer"]
