"""Conditions: how one world of an evaluation differs from the nominal one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import mujoco
import numpy as np

from rrl.envs.physics import MODEL_PARAMETERS, ModelChange, changed_fields
from rrl.envs.simulation import ModelFields
from rrl.evaluation.rows import CellKind

NOISES = ("observation_noise", "action_noise", "action_delay", "reset_noise")
PUSHES = ("push_impulse", "push_constant", "push_step", "push_random")
PARAMETERS = (*MODEL_PARAMETERS, *NOISES, *PUSHES)
"""All that a condition can change.

* ``mass``, ... ``frictionloss``: physics, see ``rrl.envs.physics``
* ``observation_noise``: standard deviation of Gaussian noise on each feature, in units of the observation
* ``action_noise``: standard deviation of Gaussian noise on each action, as a fraction of half the action range
* ``action_delay``: whole environment steps between the choice of an action and its effect
* ``reset_noise``: factor of the task's ``reset_noise_scale``, or the absolute scale
* ``push_impulse``: newtons along x on the task's pushed body, in one step at a random time in the first half of the
  time limit
* ``push_constant``: newtons along x in every step
* ``push_step``: newtons along x from such a random time on
* ``push_random``: newtons; a uniform force along x between plus and minus that, drawn in each step
"""


class HasEnvId(Protocol):
    """A task, or what is known of an environment; of either the scale of the noise on its initial state is asked."""

    @property
    def env_id(self) -> str:
        """Its name."""
        ...


class Parameter(NamedTuple):
    """What is changed: one of ``PARAMETERS``."""

    name: str
    parts: tuple[str, ...] = ()
    """Parts of the model that it is changed of; all if empty."""
    absolute: bool = False
    """Whether its values are absolute rather than factors of the nominal value."""

    @classmethod
    def parse(cls, text: str) -> Parameter:
        """Read ``[absolute ]NAME[ of PART[, PART...]]``; ValueError says what there is not.

        Example:
            >>> Parameter.parse("absolute mass of torso, foot")
            Parameter(name='mass', parts=('torso', 'foot'), absolute=True)
        """
        absolute = text.startswith("absolute ")
        name, _, parts = text.removeprefix("absolute ").partition(" of ")
        if name not in PARAMETERS:
            near = difflib.get_close_matches(name, PARAMETERS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(PARAMETERS)}."
            raise ValueError(f"There is no parameter {name!r}{hint}")
        if name not in MODEL_PARAMETERS and (parts or (absolute and name != "reset_noise")):
            raise ValueError(f"`{name}` can be neither absolute nor of a part, got {text!r}.")
        return cls(name, tuple(part.strip() for part in parts.split(",")) if parts else (), absolute)

    @property
    def nominal(self) -> float:
        """The value that changes nothing; NaN where that depends on the task."""
        if self.absolute:
            return float("nan")
        return 1.0 if self.name in (*MODEL_PARAMETERS, "reset_noise") else 0.0


@dataclass(frozen=True)
class Condition:
    """How a world differs from the nominal one. Without settings it does not.

    Example:
        >>> Condition.of({"mass": 1.2, "push_random": 5.0}).kind
        'push'
    """

    settings: tuple[tuple[Parameter, float], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Condition:
        """Read values by the text of their parameter; a ValueError names what is none, or an inadmissible value."""
        return cls(tuple((Parameter.parse(text), float(value)) for text, value in values.items()))

    def __post_init__(self) -> None:
        for parameter, value in self.settings:
            if not np.isfinite(value):
                raise ValueError(f"`{parameter.name}` must be finite, got {value}.")
            if value < 0.0 and parameter.name not in PUSHES:
                raise ValueError(f"`{parameter.name}` must not be negative, got {value}.")
            if parameter.name == "action_delay" and value != round(value):
                raise ValueError(f"`action_delay` must be a whole number of environment steps, got {value}.")

    @property
    def kind(self) -> CellKind:
        """The most intrusive kind of its settings: a push, else noise, else physics."""
        names = {parameter.name for parameter, _ in self.settings}
        if names & set(PUSHES):
            return "push"
        if names & set(NOISES):
            return "noise"
        return "physics" if names else "nominal"

    @property
    def effective(self) -> Condition:
        """The same condition without the settings that change nothing."""
        return Condition(tuple(setting for setting in self.settings if setting[1] != setting[0].nominal))

    def value(self, name: str) -> float:
        """Return the value of a noise or a push; the nominal one where it is not set."""
        return next((value for parameter, value in self.settings if parameter.name == name), Parameter(name).nominal)

    def fields(self, model: mujoco.MjModel, env_id: str) -> ModelFields:
        """Return the model fields that are not nominal in a task, a key of ``TASKS``, with this nominal model.

        What has no effect on the task, or does not exist, raises ValueError.
        """
        changes = [
            ModelChange(parameter.name, value, parameter.parts, parameter.absolute)
            for parameter, value in self.settings
            if parameter.name in MODEL_PARAMETERS
        ]
        return changed_fields(model, env_id, changes)

    def reset_noise_scale(self, task: HasEnvId) -> float | None:
        """Return the scale of the noise on the initial state; None if that of the nominal task stays.

        If it should change and the task has none, that is a ValueError.
        """
        for parameter, value in self.settings:
            if parameter.name == "reset_noise":
                nominal = getattr(task, "reset_noise_scale", None)
                if nominal is None:
                    raise ValueError(f"`reset_noise` has no effect on {task.env_id}: the task has no such option.")
                return value if parameter.absolute else value * nominal
        return None
