"""A new adversary trained against a finished policy: the attack under which any two policies can be compared."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor, nn

from rrl.algorithms import RARL
from rrl.algorithms.rarl import Game
from rrl.checks import require_at_least, require_positive
from rrl.data import RolloutDataModule
from rrl.envs import ADVERSARIAL_TASKS, AdversarialForce, AdversaryBodies
from rrl.envs.gymnasium_worlds import find_wrapper
from rrl.envs.make import is_native
from rrl.evaluation.attacks.attackers import MakeAttacker, learned_attack
from rrl.evaluation.episodes import BatchPolicy, MeanActions, Trial
from rrl.policies import GaussianPolicy
from rrl.random_streams import Purpose, seeded_globally
from rrl.trpo import TrustRegion
from rrl.types import Actor

NUM_ENVS = 32
NUM_STEPS = 64
"""Steps of each world between two updates of the adversary."""
MAX_KL = 0.03
"""Trust region of the adversary's step. Nothing is lost by a bold one: the strongest of several restarts counts."""
START_LOG_STD = -1.0
"""Spread of an adversary that begins with a push: what it knows already should not drown in exploration."""


class PolicyActor:
    """A finished policy in the place of an actor: it has no exploration noise."""

    def __init__(self, policy: BatchPolicy) -> None:
        self._policy = policy

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Ask the policy; see :class:`rrl.types.Actor`."""
        actions = np.asarray(self._policy(observations.numpy().astype(np.float64)))
        return torch.from_numpy(actions)


class FrozenProtagonistGame(RARL):
    """RARL in which a policy from anywhere takes the protagonist's place, and only the adversary learns."""

    actor: Actor

    def rollout_actor(self) -> Actor:
        """Return the policy under attack."""
        return self.actor


class FreshAdversary(NamedTuple):
    """An adversary that takes its mean action, and what it cost."""

    attacker: MakeAttacker
    num_steps: int
    """Environment steps of its training."""


class Battlefield(NamedTuple):
    """Where a policy is attacked."""

    env_id: str
    """The environment with an adversary, or the one that gets one."""
    adversary: AdversaryBodies


def battlefield(trial: Trial) -> Battlefield:
    """Find where a policy of an environment is attacked: on the bodies of the trial, or on a task with an adversary.

    Such a task has the same nominal physics: it is the environment itself, or the first row that prescribes no masses.
    If there is neither, that is a ValueError.

    Example:
        >>> battlefield(Trial("Hopper-v5", 1)).env_id, battlefield(Trial("rrl/Hopper6Adv-v1", 1)).env_id
        ('rrl/HopperAdv-v1', 'rrl/Hopper6Adv-v1')
    """
    env_id = trial.env_id
    if trial.adversary is not None:
        return Battlefield(env_id, trial.adversary)
    if env_id in ADVERSARIAL_TASKS:
        return Battlefield(env_id, ADVERSARIAL_TASKS[env_id].adversary)
    for name, task in ADVERSARIAL_TASKS.items():
        if task.env_id == env_id and not task.masses:
            return Battlefield(name, task.adversary)
    if not is_native(env_id):
        env = trial.recipe.make()
        game = find_wrapper(env, AdversarialForce)
        env.close()
        if game is not None:
            return Battlefield(env_id, game.adversary)
    known = sorted({task.env_id for task in ADVERSARIAL_TASKS.values()})
    raise ValueError(
        f"`adversary` must name the bodies of {env_id} that attackers push; only {known} have them already."
    )


def train_adversary(
    policy: BatchPolicy,
    trial: Trial,
    *,
    force_limit: float,
    num_steps: int = 100_000,
    start: Sequence[float] | None = None,
) -> FreshAdversary:
    """Train an adversary by TRPO against a policy that stays as it is, on its :func:`battlefield`.

    It happens in this process, writes nothing, and leaves the global random streams as they were. The force along an
    axis is at most ``force_limit`` newtons, the environment steps are rounded up to whole rollouts. The adversary
    begins with the action ``start``, shape ``[F]``, in every state and a smaller spread, or with no force where None.
    """
    require_at_least(1, num_steps=num_steps)
    require_positive(force_limit=force_limit)
    field, seed = battlefield(trial), trial.seed
    iterations = -(-num_steps // (NUM_ENVS * NUM_STEPS))
    data = RolloutDataModule(
        field.env_id,
        num_envs=NUM_ENVS,
        num_steps=NUM_STEPS,
        iterations_per_epoch=iterations,
        seed=seed,
        env_kwargs=dict(trial.env_kwargs),
        wrappers={name: dict(options or {}) for name, options in trial.wrappers.items()},
        max_episode_steps=trial.max_episode_steps,
        adversary=field.adversary,
        force_limit=force_limit,
    )
    with seeded_globally(Purpose.ADVERSARY_NETWORK, seed):
        game = FrozenProtagonistGame(
            data.spaces,
            policy_update=TrustRegion(max_kl=MAX_KL / data.spaces.adversary_dim, cg_damping=0.1),
            game=Game(protagonist_updates=0),
        )
        # Actions that come from tensors need not leave them on the way.
        game.actor = policy if isinstance(policy, MeanActions) else PolicyActor(policy)
        if start is not None:
            _begin_with(game.adversary.policy, start)
        _fit_quietly(game, data)
    adversary = game.eval().requires_grad_(False).ungated_adversary()
    return FreshAdversary(partial(learned_attack, adversary), iterations * NUM_ENVS * NUM_STEPS)


@torch.no_grad()
def _begin_with(policy: GaussianPolicy, action: Sequence[float]) -> None:
    """Let a new policy choose about the same action in every state."""
    output = cast(nn.Linear, policy.mean[-1])
    output.bias.copy_(torch.tensor(action))
    policy.log_std.fill_(START_LOG_STD)


def _fit_quietly(game: RARL, data: LightningDataModule) -> None:
    """Train for one epoch without files, hardware lists, and warnings about what the rollouts do on purpose."""
    handler = signal.getsignal(signal.SIGINT)
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in ("Your `IterableDataset` has", ".*does not have many workers", ".*LeafSpec"):
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            trainer = Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(game, datamodule=data)
        except SystemExit as error:  # how Lightning ends after Ctrl-C, with the signal switched off
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from error  # the program ends, not the training alone
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
