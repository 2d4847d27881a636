"""Checkpoints that cannot be half written, that continue a run exactly, and that load without trusting them.

- ``io``: writing a checkpoint file so that it is whole or absent
- ``state``: what a checkpoint holds beyond Lightning's own, and when one is written
- ``loading``: reading a checkpoint back as an algorithm or a policy
"""

from rrl.checkpoints.io import AtomicCheckpointIO, require_buffer
from rrl.checkpoints.loading import (
    CheckpointError,
    Policy,
    actor_of,
    build_algorithm,
    load_algorithm,
    load_policy,
    read_checkpoint,
)
from rrl.checkpoints.state import BestAndLastCheckpoint, RunState, world_recipe

__all__ = [
    "AtomicCheckpointIO",
    "BestAndLastCheckpoint",
    "CheckpointError",
    "Policy",
    "RunState",
    "actor_of",
    "build_algorithm",
    "load_algorithm",
    "load_policy",
    "read_checkpoint",
    "require_buffer",
    "world_recipe",
]
