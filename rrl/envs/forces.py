"""What an adversary can do to a model: its forces, their limits, and the masses that its task prescribes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from rrl.envs.bodies import AXES

Array = NDArray[np.float64]
ForceUnit = Literal["newtons", "body_weight"]


def require_body(model: mujoco.MjModel, name: str, argument: str) -> int:
    """Find a body.

    Args:
        model: The model.
        name: Name of a body of it.
        argument: Argument that the name was given as, for the message.

    Returns:
        Its index.

    Raises:
        ValueError: If there is no such body.
    """
    names = [model.body(index).name for index in range(model.nbody)]
    if name not in names[1:]:
        raise ValueError(f"`{argument}` must be among {names[1:]}, got {name!r}.")
    return names.index(name)


def set_masses(model: mujoco.MjModel, masses: Mapping[str, float]) -> None:
    """Give bodies absolute masses, leave their inertia, and refresh what derives from the masses.

    Args:
        model: Changed in place.
        masses: Kilograms by name of the body, positive.

    Raises:
        ValueError: If a mass is not positive and finite.
    """
    for name, mass in masses.items():
        if not 0.0 < mass < np.inf:
            raise ValueError(f"`masses[{name!r}]` must be positive and finite, got {mass}.")
        model.body_mass[require_body(model, name, "masses")] = mass
    if masses:
        mujoco.mj_setConst(model, mujoco.MjData(model))


def limit_in_newtons(model: mujoco.MjModel, force_limit: float, unit: ForceUnit) -> float:
    """Convert the limit of a force to newtons.

    Args:
        model: Whose weight counts, with its present masses and gravity.
        force_limit: Largest force along an axis, at least 0.
        unit: ``newtons``, or ``body_weight``: the weight of the whole model.

    Returns:
        Newtons.

    Raises:
        ValueError: If the limit is negative or not finite, or the unit is unknown.
    """
    if not 0.0 <= force_limit < np.inf:
        raise ValueError(f"`force_limit` must be at least 0 and finite, got {force_limit}.")
    if unit == "newtons":
        return float(force_limit)
    if unit != "body_weight":
        raise ValueError(f"`force_limit_unit` must be 'newtons' or 'body_weight', got {unit!r}.")
    weight = float(model.body_mass.sum() * np.linalg.norm(model.opt.gravity))
    if weight == 0.0:
        raise ValueError("`force_limit_unit` must be 'newtons' where there is no gravity, got 'body_weight'.")
    return force_limit * weight


def axis_indices(axes: str) -> list[int]:
    """Read the axes along which an adversary pushes.

    Args:
        axes: Letters of the world's axes.

    Returns:
        Their indices.

    Raises:
        ValueError: If there is none, one is unknown, or one occurs twice.

    Example:
        >>> axis_indices("xz")
        [0, 2]
    """
    if not axes or not set(axes) <= set(AXES) or len(set(axes)) < len(axes):
        raise ValueError(f"`axes` must be different letters of {AXES!r}, got {axes!r}.")
    return [AXES.index(axis) for axis in axes]


def world_forces(components: Array, num_bodies: int, axes: Sequence[int]) -> Array:
    """Spread the components that an adversary controls over whole force vectors.

    Args:
        components: Forces, body by body, newtons. Shape ``[..., F]``.
        num_bodies: Number of bodies, ``K``.
        axes: Indices of the axes of each body, as many as ``F / K``.

    Returns:
        World-frame forces; 0 along the other axes. Shape ``[..., K, 3]``.

    Example:
        >>> world_forces(np.array([1.0, 2.0]), num_bodies=1, axes=[0, 2])
        array([[1., 0., 2.]])
    """
    forces = np.zeros((*components.shape[:-1], num_bodies, len(AXES)))
    forces[..., list(axes)] = components.reshape(*components.shape[:-1], num_bodies, len(axes))
    return forces
