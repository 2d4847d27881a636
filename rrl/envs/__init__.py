"""Environments: many native MuJoCo worlds with disturbances as inputs. No torch in here.

* ``tasks``: what each task observes, rewards and ends on
* ``bodies``: which body is pushed, where an adversary pushes, which physics matter
* ``forces``: an adversary's forces, their limits, prescribed masses
* ``adversarial``: an adversary for any MuJoCo environment of Gymnasium
* ``physics``: mass, friction, ... as factors of the nominal values
* ``fields``, ``model_changes``: any model field by world; physical parameters by name, of the whole model or its parts
* ``pushes``: random held forces
* ``simulation``: the simulators, blind to tasks and episodes
* ``transition``: one environment step: the simulators advance, the task judges
* ``vector``: the worlds: episodes, rewards, random streams
* ``make``: native worlds, or Gymnasium's where a task has no row
"""

from rrl.envs.adversarial import AdversarialForce
from rrl.envs.bodies import ADVERSARIAL_TASKS, TASK_BODIES, AdversarialTask, TaskBodies
from rrl.envs.forces import ForceUnit
from rrl.envs.make import flat_box, make_vec_env
from rrl.envs.physics import PhysicsFactors
from rrl.envs.pushes import Pushes
from rrl.envs.tasks import TASKS, Task, make_task
from rrl.envs.vector import MuJoCoVectorEnv

__all__ = [
    "ADVERSARIAL_TASKS",
    "TASKS",
    "TASK_BODIES",
    "AdversarialForce",
    "AdversarialTask",
    "ForceUnit",
    "MuJoCoVectorEnv",
    "PhysicsFactors",
    "Pushes",
    "Task",
    "TaskBodies",
    "flat_box",
    "make_task",
    "make_vec_env",
]
