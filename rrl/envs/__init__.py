"""Environments: many native MuJoCo worlds with disturbances as inputs. No torch in here.

* ``tasks``: what each task observes, rewards and ends on
* ``bodies``: which body is pushed, which physics matter
* ``physics``: mass, friction, ... as factors of the nominal values
* ``pushes``: random held forces
* ``simulation``: the simulators, blind to tasks and episodes
* ``vector``: the worlds: episodes, rewards, random streams
* ``make``: native worlds, or Gymnasium's where a task has no row
"""

from rrl.envs.bodies import TASK_BODIES, TaskBodies
from rrl.envs.make import flat_box, make_vec_env
from rrl.envs.physics import PhysicsFactors
from rrl.envs.pushes import Pushes
from rrl.envs.tasks import TASKS, Task, make_task
from rrl.envs.vector import MuJoCoVectorEnv

__all__ = [
    "TASKS",
    "TASK_BODIES",
    "MuJoCoVectorEnv",
    "PhysicsFactors",
    "Pushes",
    "Task",
    "TaskBodies",
    "flat_box",
    "make_task",
    "make_vec_env",
]
