"""Physical parameters of the worlds as factors of their nominal values: drawn, swept, applied and restored exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from rrl.envs.fields import nominal_field, refresh_constants

Array = NDArray[np.float64]
Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class PhysicsFactors:
    """Positive factors on the nominal physics, one per world. 1 is the unchanged model.

    Example:
        >>> heavy = PhysicsFactors.constant(2, {"mass": 1.5})
        >>> heavy.mass, heavy.friction
        (array([1.5, 1.5]), array([1., 1.]))
    """

    mass: Array
    """Mass and rotational inertia of every body. Shape ``[N]``."""
    friction: Array
    """Friction of every geom, floor and feet: MuJoCo takes the maximum of the two in contact. Shape ``[N]``."""
    damping: Array
    """Damping of every joint. Shape ``[N]``."""
    gravity: Array
    """Gravitational acceleration. Shape ``[N]``."""
    gear: Array
    """Strength of every actuator. Shape ``[N]``."""

    def __post_init__(self) -> None:
        """Refuse factors that are no physics."""
        num_worlds = np.size(self.mass)
        for name, values in self.as_dict().items():
            if np.shape(values) != (num_worlds,):
                raise ValueError(f"`{name}` must have shape [N] with N = {num_worlds}, got {list(np.shape(values))}.")
            if not (np.isfinite(values) & (np.asarray(values) > 0)).all():
                raise ValueError(f"`{name}` must hold positive finite factors, got {values}.")

    @classmethod
    def constant(cls, num_worlds: int, factors: Mapping[str, float]) -> PhysicsFactors:
        """Give all worlds the same physics. An unknown name raises ValueError.

        Args:
            num_worlds: Number of worlds, ``N``.
            factors: Factor by name of the field; 1 where not named.

        Returns:
            The factors.
        """
        _require_known("factors", factors)
        return cls(**{name: np.full(num_worlds, factors.get(name, 1.0)) for name in PHYSICS_NAMES})

    @classmethod
    def identity(cls, num_worlds: int) -> PhysicsFactors:
        """Give all worlds the nominal physics.

        Args:
            num_worlds: Number of worlds, ``N``.

        Returns:
            Factors that are all 1.
        """
        return cls.constant(num_worlds, {})

    @classmethod
    def sample(cls, ranges: Ranges, generators: Sequence[np.random.Generator]) -> PhysicsFactors:
        """Draw the physics of each world from its own stream.

        Args:
            ranges: Lowest and highest factor by name of the field, drawn uniformly; 1 where not named. They must
                satisfy :func:`validate_ranges`.
            generators: One stream per world; each gives one number per range.

        Returns:
            Factors of as many worlds as there are generators.
        """
        drawn = np.ones((len(generators), len(PHYSICS_NAMES)))
        for row, generator in zip(drawn, generators, strict=True):
            for column, name in enumerate(PHYSICS_NAMES):
                if name in ranges:
                    row[column] = generator.uniform(*ranges[name])
        return cls.from_table(drawn)

    @classmethod
    def from_table(cls, table: Array) -> PhysicsFactors:
        """Read factors from one array.

        Args:
            table: Columns in the order of the fields. Shape ``[N, 5]``.

        Returns:
            The factors.
        """
        return cls(**{name: table[:, column].copy() for column, name in enumerate(PHYSICS_NAMES)})

    def as_table(self) -> Array:
        """Write the factors to one array.

        Returns:
            Columns in the order of the fields. Shape ``[N, 5]``.
        """
        return np.stack(list(self.as_dict().values()), axis=1)

    def as_dict(self) -> dict[str, Array]:
        """Name the factors.

        Returns:
            Arrays ``[N]`` by name of the field.
        """
        return {name: getattr(self, name) for name in PHYSICS_NAMES}


PHYSICS_NAMES = tuple(field.name for field in fields(PhysicsFactors))

# The model fields that each factor multiplies.
_MODEL_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "mass": ("body_mass", "body_inertia"),
    "friction": ("geom_friction",),
    "damping": ("dof_damping",),
    "gravity": ("opt.gravity",),
    "gear": ("actuator_gear",),
})


def validate_ranges(ranges: Ranges) -> None:
    """Check ranges of factors.

    Args:
        ranges: Lowest and highest factor by name of the field.

    Raises:
        ValueError: If a name is unknown or a range is not ``0 < low <= high < inf``.
    """
    _require_known("physics", ranges)
    for name, (low, high) in ranges.items():
        if not 0.0 < low <= high < np.inf:
            raise ValueError(f"`physics[{name!r}]` must satisfy 0 < low <= high < inf, got ({low}, {high}).")


def _require_known(argument: str, factors: Mapping[str, object]) -> None:
    unknown = sorted(set(factors) - set(PHYSICS_NAMES))
    if unknown:
        raise ValueError(f"`{argument}` may hold {list(PHYSICS_NAMES)}, got {unknown}.")


class WorldPhysics:
    """The physics that the worlds of a batch have now.

    Factors always multiply the nominal values of the model, never the present ones, so they do not compound.

    Args:
        batch: The simulations.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._factors = np.ones((batch.nsim, len(PHYSICS_NAMES)))
        self._columns = [
            (column, batch.expand(field), nominal_field(batch.model, field))
            for column, name in enumerate(PHYSICS_NAMES)
            for field in _MODEL_FIELDS[name]
        ]

    @property
    def factors(self) -> PhysicsFactors:
        """The factors in force. Shapes ``[N]``."""
        return PhysicsFactors.from_table(self._factors)

    def apply(self, factors: PhysicsFactors, worlds: NDArray[np.intp]) -> None:
        """Give some worlds new physics; their states stay.

        Args:
            factors: Factors of these worlds, in their order.
            worlds: Indices of the worlds.
        """
        table = factors.as_table()
        changed = (table != self._factors[worlds]).any(axis=1)
        if not changed.any():
            return
        worlds, table = worlds[changed], table[changed]
        self._factors[worlds] = table
        for column, values, nominal in self._columns:
            factor = table[:, column].reshape(-1, *[1] * nominal.ndim)
            values[worlds] = factor * nominal
        refresh_constants(self._batch, worlds)
