"""Environments: many native MuJoCo worlds with disturbances as inputs. No torch in here."""

from rrl.envs.adversarial import AdversarialForce, HasAdversary
from rrl.envs.bodies import ADVERSARIAL_TASKS, TASK_BODIES, AdversaryBodies
from rrl.envs.forces import ForceUnit, Pushes
from rrl.envs.make import flat_box, make_vec_env, spaces_of
from rrl.envs.register import register_task
from rrl.envs.simulation import Worlds, available_cores
from rrl.envs.task import NoisyTask, Outcome, Task
from rrl.envs.tasks import TASKS, make_task
from rrl.envs.vector import MuJoCoVectorEnv

__all__ = [
    "ADVERSARIAL_TASKS",
    "TASKS",
    "TASK_BODIES",
    "AdversarialForce",
    "AdversaryBodies",
    "ForceUnit",
    "HasAdversary",
    "MuJoCoVectorEnv",
    "NoisyTask",
    "Outcome",
    "Pushes",
    "Task",
    "Worlds",
    "available_cores",
    "flat_box",
    "make_task",
    "make_vec_env",
    "register_task",
    "spaces_of",
]
