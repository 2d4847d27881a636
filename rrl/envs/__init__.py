"""Environments: many native MuJoCo worlds with disturbances as inputs. No torch in here.

* ``task``: what a task is, and one environment step: the simulators advance, the task judges
* ``tasks``, ``runners``: what each task observes, rewards and ends on
* ``bodies``: which body is pushed, where an adversary pushes, which physics matter
* ``forces``: an adversary's forces, their limits, prescribed masses
* ``adversarial``: an adversary for any MuJoCo environment of Gymnasium
* ``physics``: mass, friction, ... by name, of the whole model or its parts, set or drawn
* ``pushes``: random held forces
* ``simulation``: the simulators, blind to tasks and episodes, and any model field by world
* ``vector``: the worlds: episodes, rewards, random streams
* ``make``: native worlds, or Gymnasium's where a task has no row
"""

from rrl.envs.adversarial import AdversarialForce, HasAdversary
from rrl.envs.bodies import ADVERSARIAL_TASKS, TASK_BODIES, AdversarialTask, TaskBodies
from rrl.envs.forces import ForceUnit
from rrl.envs.make import flat_box, make_vec_env, spaces_of
from rrl.envs.pushes import Pushes
from rrl.envs.task import Task
from rrl.envs.tasks import TASKS, make_task
from rrl.envs.vector import MuJoCoVectorEnv

__all__ = [
    "ADVERSARIAL_TASKS",
    "TASKS",
    "TASK_BODIES",
    "AdversarialForce",
    "AdversarialTask",
    "ForceUnit",
    "HasAdversary",
    "MuJoCoVectorEnv",
    "Pushes",
    "Task",
    "TaskBodies",
    "flat_box",
    "make_task",
    "make_vec_env",
    "spaces_of",
]
