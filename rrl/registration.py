"""Tells Gymnasium the names of the adversarial environments, without importing the simulator."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

ADVERSARIAL_IDS = (
    "rrl/InvertedPendulumAdv-v1",
    "rrl/InvertedDoublePendulumAdv-v1",
    "rrl/HopperAdv-v1",
    "rrl/Hopper6Adv-v1",
    "rrl/HopperHeelAdv-v1",
    "rrl/HopperHeel6Adv-v1",
    "rrl/HopperTorso6Adv-v1",
    "rrl/HalfCheetahAdv-v1",
    "rrl/HalfCheetahHeelAdv-v1",
    "rrl/HalfCheetahTorsoAdv-v1",
    "rrl/SwimmerAdv-v1",
    "rrl/Walker2dAdv-v1",
    "rrl/Walker2dHeelAdv-v1",
    "rrl/Walker2dTorsoAdv-v1",
    "rrl/AntAdv-v1",
)
"""The keys of ``rrl.envs.bodies.ADVERSARIAL_TASKS``, repeated since importing that imports the simulator."""


def register_environments() -> None:
    """Register all adversarial environments that are not known yet, as importing ``rrl`` does."""
    for env_id in ADVERSARIAL_IDS:
        if env_id not in registry:
            register(
                env_id,
                entry_point="rrl.envs.adversarial:make_adversarial",
                max_episode_steps=1000,
                kwargs={"task_id": env_id},
            )
