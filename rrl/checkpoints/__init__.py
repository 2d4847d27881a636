"""Checkpoints that cannot be half written, that continue a run exactly, and that load without trusting them."""

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
