"""Tells Gymnasium the names of the adversarial environments, without importing the simulator."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

_TASKS = (
    "InvertedPendulum InvertedDoublePendulum Hopper Hopper6 HopperHeel HopperHeel6 HopperTorso6"
    " HalfCheetah HalfCheetahHeel HalfCheetahTorso Swimmer Walker2d Walker2dHeel Walker2dTorso Ant"
)
ADVERSARIAL_IDS = tuple(f"rrl/{task}Adv-v1" for task in _TASKS.split())
"""The keys of ``rrl.envs.bodies.ADVERSARIAL_TASKS``, repeated since importing that imports the simulator."""


def register_environments() -> None:
    """Register all adversarial environments that are not known yet, as importing ``rrl`` does."""
    for env_id in ADVERSARIAL_IDS:
        if env_id not in registry:
            make = "rrl.envs.adversarial:make_adversarial"
            register(env_id, entry_point=make, max_episode_steps=1000, kwargs={"task_id": env_id})
