"""Train control policies that survive a world which differs from the one they were trained in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gymnasium.envs.registration import register, registry

__version__ = "0.2.0"
_TASKS = (
    "InvertedPendulum InvertedDoublePendulum Hopper Hopper6 HopperHeel HopperHeel6 HopperTorso6"
    " HalfCheetah HalfCheetahHeel HalfCheetahTorso Swimmer Walker2d Walker2dHeel Walker2dTorso"
    " Ant Humanoid HumanoidStandup"
)
ADVERSARIAL_IDS = tuple(f"rrl/{task}Adv-v1" for task in _TASKS.split())
"""The keys of ``rrl.envs.bodies.ADVERSARIAL_TASKS``, repeated since importing that imports the simulator."""


def register_environments() -> None:
    """Register all adversarial environments that are not known yet, as importing ``rrl`` does."""
    for env_id in ADVERSARIAL_IDS:
        if env_id not in registry:
            make = "rrl.envs.adversarial:make_adversarial"
            register(env_id, entry_point=make, max_episode_steps=1000, kwargs={"task_id": env_id})


register_environments()

if TYPE_CHECKING:
    from rrl.checkpoints import load_policy as load_policy


def __getattr__(name: str) -> object:
    """Import ``load_policy`` when it is first used, so that ``import rrl`` stays instant."""
    if name == "load_policy":
        from rrl.checkpoints.loading import load_policy

        return load_policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
