"""The containers in which data crosses every boundary of the package, and the legend of their shapes.

Every docstring of the package writes shapes with these letters:

========  ==================================================================================
``T``     environment steps of one rollout
``N``     environments (worlds) stepped side by side
``O``     observation size
``A``     action size
``F``     size of the adversary's action
``B``     trajectory windows
``H``     horizon: rows of one trajectory window (``H`` states, ``H - 1`` complete transitions)
``D``     features that the diffusion model generates per row, ``D = O + 2`` (reward and end of the episode)
``S``     simulator state size (generalised positions and velocities)
``E``     episodes that ended
``U``     policy updates of one iteration
``M``     updates of the trajectory models of one iteration
``C``     candidates for the start states of imagined trajectories
``P``     states in which episodes of training may begin
========  ==================================================================================
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from rrl.spaces import Spaces

Batch = TypeVar("Batch", bound="TensorBatch")


@dataclass(frozen=True)
class TensorBatch:
    """A frozen record of tensors that moves between devices as one."""

    def map(self: Batch, function: Callable[[Any], Any]) -> Batch:
        """Apply a function to every field that is there: a tensor, or a record of tensors."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: function(value) for name, value in present.items() if value is not None})

    def to(self: Batch, device: torch.device | str) -> Batch:
        """Move every field; those that lie there already are shared, not copied."""
        return self.map(lambda value: value.to(device))


class Actor(Protocol):
    """Anything that can drive environments: the collector knows no algorithm, only this."""

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Choose actions ``[N, A]``, before clipping to the action box, from raw observations ``[N, O]``.

        ``noise`` ``[N, A]`` holds standard normal draws that make the actions stochastic; zeros give the mean action.
        They come from one stream per world, so that a rollout does not depend on how worlds are spread over processes.
        """
        ...


class Attack(NamedTuple):
    """What an adversary decides for one step of all environments."""

    actions: Tensor
    """Sampled actions before clipping to -1 to 1, where 1 is the force limit. Shape ``[N, F]``."""
    is_open: Tensor
    """True where the adversary may push; elsewhere the executed action is 0. Boolean, shape ``[N]``."""
    explored: Tensor
    """True where it may push whatever the risk. Boolean, shape ``[N]``."""
    risk: Tensor
    """The failure risk that decided; not a number where none did. Shape ``[N]``."""
    strength: float = 1.0
    """Share of the force limit that an action of 1 stands for, in ``[0, 1]``."""


class RestartStates(NamedTuple):
    """States in which a share of the training episodes begins."""

    states: Tensor
    """Simulator states, on the CPU, float64. Shape ``[P, S]``."""
    weights: Tensor
    """They are drawn in proportion to these; where none is positive episodes begin as the task has it. ``[P]``."""
    share: float
    """Share of the episodes, in ``[0, 1]``."""


class Adversary(Protocol):
    """Anything that can exert forces in environments with an adversary."""

    def attack(self, observations: Tensor, noise: Tensor, uniforms: Tensor, starts: Tensor) -> Attack:
        """Choose actions, and where they are executed.

        Args:
            observations: Raw observations, the same that the protagonist sees. Shape ``[N, O]``.
            noise: As for :class:`Actor`. Shape ``[N, F]``.
            uniforms: Uniform draws from ``[0, 1)`` for the decision where to push. Shape ``[N]``.
            starts: True where nothing before this observation belongs to it: at the first step of an episode or of a
                rollout. Boolean, shape ``[N]``.
        """
        ...


class HasActor(Protocol):
    """What the data module and evaluations need from an algorithm."""

    spaces: Spaces

    def rollout_actor(self) -> Actor:
        """Return the actor with the parameters of this moment, on the CPU."""
        ...

    def rollout_adversary(self) -> Adversary | None:
        """Return who pushes in the worlds now; None where nobody does."""
        ...

    def rollout_restarts(self) -> RestartStates | None:
        """Return the states in which some episodes of training begin from now on; None changes nothing."""
        ...


@runtime_checkable
class HasAttackTests(Protocol):
    """A callback that may test the protagonist of a game against the adversary that learns in it."""

    @property
    def tests_learned_adversary(self) -> bool:
        """True where the returns of such tests become known."""
        ...


class HasEnvSteps(Protocol):
    """What the progress bar knows of an algorithm."""

    env_steps: Tensor
    """Real environment steps over all ranks so far."""


@dataclass(frozen=True)
class RolloutBatch(TensorBatch):
    """Transitions of ``N`` trajectories side by side over ``T`` steps, real or imagined.

    ``next_observations[t]`` is what followed ``actions[t]`` *before* any reset, so that a time limit can be
    bootstrapped. Where neither ``terminated`` nor ``truncated`` holds it equals ``observations[t + 1]``.
    """

    observations: Tensor
    """Raw observations in which the actions were chosen. Shape ``[T, N, O]``."""
    actions: Tensor
    """Actions as sampled, before clipping to the action box. Shape ``[T, N, A]``."""
    rewards: Tensor
    """Rewards of the transitions. Shape ``[T, N]``."""
    terminated: Tensor
    """True where the episode ended for good (failure, success): nothing follows. Boolean, shape ``[T, N]``."""
    truncated: Tensor
    """True where the episode was cut off (time limit): the value continues. Boolean, shape ``[T, N]``."""
    next_observations: Tensor
    """Raw observations after the actions, before any reset. Shape ``[T, N, O]``."""
    weights: Tensor
    """How much a transition counts in the update of the policy; 0 excludes it. Shape ``[T, N]``."""
    value_weights: Tensor
    """How much a transition counts in the fit of the value function; 0 excludes it. Shape ``[T, N]``."""

    @property
    def ended(self) -> Tensor:
        """True where an episode ended for either reason. Shape ``[T, N]``."""
        return self.terminated | self.truncated


@dataclass(frozen=True)
class EpisodeStatistics(TensorBatch):
    """Episodes that ended during a rollout."""

    returns: Tensor
    """Undiscounted sums of rewards. Shape ``[E]``."""
    lengths: Tensor
    """Numbers of steps. Shape ``[E]``."""
    failed: Tensor
    """True where the episode terminated rather than being cut off. Boolean, shape ``[E]``."""
    unstable: Tensor
    """True where that is because the simulation became unstable; only native worlds tell. Boolean, shape ``[E]``."""


@dataclass(frozen=True)
class AttackRecord(TensorBatch):
    """What an adversary did during a rollout, and what is needed to say where its attacks led.

    The first four are those of :class:`Attack`, for all steps: shapes ``[T, N, ...]``.
    """

    actions: Tensor
    is_open: Tensor
    explored: Tensor
    risk: Tensor
    previous_returns: Tensor
    """Rewards that the running episodes had collected before the rollout. Shape ``[N]``."""
    strength: Tensor
    """As in :class:`Attack`. Shape ``[T]``."""

    @property
    def executed(self) -> Tensor:
        """The executed actions, from -1 to 1, where 1 is the force limit. Shape ``[T, N, F]``."""
        return self.actions.clamp(-1.0, 1.0) * self.is_open.unsqueeze(-1) * self.strength[:, None, None]


@dataclass(frozen=True)
class Rollout(TensorBatch):
    """One fresh rollout of the current policy: what a training step of an on-policy algorithm receives."""

    transitions: RolloutBatch
    episodes: EpisodeStatistics
    simulator_states: Tensor
    """Simulator states in which the actions were chosen, for exact replays; ``S`` is 0 where the environments do not
    offer them. float64, shape ``[T, N, S]``."""
    seconds: Tensor
    """Wall-clock time that the collection took. Scalar."""
    episode_ids: Tensor
    """Number of the running episode, unique over run and ranks. Long, shape ``[T, N]``."""
    attack: AttackRecord | None = None
    """None where there was no adversary."""
    width: Tensor | None = None
    """Width of the uncertainty set for episodes that began in it; None without a curriculum. Scalar."""


@dataclass(frozen=True)
class WindowBatch(TensorBatch):
    """Windows of real experience on which the trajectory models are trained.

    A window never shows two episodes as one: where an episode ends inside it, ``valid`` is False from the next
    transition on and the remaining rows repeat the last observation.
    """

    observations: Tensor
    """Raw observations. Row ``t + 1`` is what followed row ``t``, also at an episode's end. Shape ``[B, H, O]``."""
    actions: Tensor
    """Actions clipped to the action box, as the simulator received them. Shape ``[B, H, A]``."""
    rewards: Tensor
    """Rewards; 0 where not valid. Shape ``[B, H]``."""
    terminated: Tensor
    """As in :class:`RolloutBatch`. Shape ``[B, H]``."""
    valid: Tensor
    """True where the transition was really observed. Boolean, shape ``[B, H]``; column 0 is always True."""

    @property
    def observed(self) -> Tensor:
        """True where the observation of the row was really seen. Boolean, shape ``[B, H]``."""
        return torch.cat([torch.ones_like(self.valid[:, :1]), self.valid[:, :-1]], dim=1)

    def unbind(self) -> list[WindowBatch]:
        """Take the batches of shape ``[M, B, ...]`` apart along their first dimension, without copies."""
        return [self.map(operator.itemgetter(index)) for index in range(len(self.rewards))]


@dataclass(frozen=True)
class DynaBatch(TensorBatch):
    """What one iteration of a Dyna loop receives: fresh experience, replayed windows, and states to imagine from."""

    rollout: Rollout
    """The rollout of the current policy that was just added to the buffer."""
    windows: WindowBatch
    """Windows drawn uniformly from the buffer, for each update of the models. Shapes ``[M, B, ...]``."""
    fresh_windows: WindowBatch
    """Windows of the fresh rollout alone, on which the models have not been trained yet: their held-out data."""
    start_observations: Tensor
    """Raw observations at which imagined trajectories begin, for each policy update. Shape ``[U, B, O]``."""
    candidate_starts: Tensor | None = None
    """More of them, ``C``, for an algorithm that chooses; None where nobody asked. Shape ``[U, C, O]``."""
