"""Policies from anywhere: what an evaluation names, found, checked and loaded."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rrl.checkpoints import CheckpointError, build_algorithm, build_policy, read_checkpoint
from rrl.checkpoints.loading import MARKER
from rrl.cli_errors import suggestion
from rrl.envs import ADVERSARIAL_TASKS, make_vec_env
from rrl.evaluation.attacks import MakeAttacker, attackers_of
from rrl.evaluation.episode_queue import Policy
from rrl.evaluation.grids import PolicyLabel
from rrl.evaluation.policy_files import find_files
from rrl.evaluation.sb3_policies import load_sb3_policy

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class PolicySource(NamedTuple):
    """Where one policy is, in a form that any process can load it from."""

    method: str
    entry: str
    """Path of a file, or ``module:function``."""
    place: int
    """Number within its method, from 0: its training seed where that is not known."""


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy, and what is known of its training."""

    act: Policy
    """From raw observations ``[N, O]`` to actions ``[N, A]`` in the environment's units."""
    label: PolicyLabel
    env_steps: int | None = None
    """Environment steps of the training."""
    adversary: MakeAttacker | None = None
    """The adversary that it was trained with, never gated."""
    adversary_task: str = ""
    """The task on which that one pushes."""
    origin: Mapping[str, Any] | None = None
    """The mark in a checkpoint of this package: run, tracking address, version."""


def find_policies(methods: Mapping[str, Sequence[str]]) -> list[PolicySource]:
    """Find all policies of an evaluation.

    An entry is a checkpoint of this package (``.ckpt``), a policy of Stable-Baselines3 (``.zip``), a pattern (``*``)
    or a folder of such files, the id of an MLflow run, or ``module:function``, where the function takes no argument
    and returns the policy: a callable from observations ``[N, O]`` to actions ``[N, A]``. Of a run it is always the
    last checkpoint, never the best: that one was chosen for its luck.

    Args:
        methods: Entries by name of the method.

    Returns:
        The policies, method by method.

    Raises:
        ValueError: If there are no methods or one has no entries.
        CheckpointError: If an entry leads to nothing, or a policy is named twice.
    """
    if not methods:
        raise ValueError("`policies` must name at least one method.")
    sources: list[PolicySource] = []
    for method, entries in methods.items():
        if not entries:
            raise ValueError(f"`policies` has no entries for {method!r}.")
        found = [name for entry in entries for name in ([entry] if FUNCTION.fullmatch(entry) else find_files(entry))]
        for name in found:
            if found.count(name) > 1:
                raise CheckpointError(f"The policy {name} is named twice for {method!r}.")
        sources += [PolicySource(method, name, place) for place, name in enumerate(found)]
    return sources


def load_policies(methods: Mapping[str, Sequence[str]], env_id: str) -> list[LoadedPolicy]:
    """Find, load and check all policies of an evaluation.

    What is wrong with one raises as :func:`find_policies` and :func:`load_source` do, before anything has run.

    Args:
        methods: Entries by name of the method.
        env_id: The task of the evaluation.

    Returns:
        The policies, method by method.
    """
    return [load_source(source, env_id) for source in find_policies(methods)]


def load_source(source: PolicySource, env_id: str) -> LoadedPolicy:
    """Load a policy, and let it act once to see that it fits the task.

    Args:
        source: What :func:`find_policies` found.
        env_id: The task of the evaluation.

    Returns:
        The policy.

    Raises:
        CheckpointError: If it cannot be loaded, was trained on another task, or has the wrong sizes.
    """
    if FUNCTION.fullmatch(source.entry):
        loaded = _from_function(source)
    elif source.entry.endswith(".zip"):
        loaded = _from_sb3(source)
    else:
        loaded = _from_checkpoint(source, env_id)
    _check_fits(loaded.act, source.entry, env_id)
    return loaded


def base_task(env_id: str) -> str:
    """Return the task without its adversary.

    Args:
        env_id: Any environment.

    Returns:
        The identifier of Gymnasium's environment.

    Example:
        >>> base_task("rrl/Hopper6Adv-v1"), base_task("Hopper-v5")
        ('Hopper-v5', 'Hopper-v5')
    """
    return ADVERSARIAL_TASKS[env_id].env_id if env_id in ADVERSARIAL_TASKS else env_id


def _from_checkpoint(source: PolicySource, env_id: str) -> LoadedPolicy:
    checkpoint = read_checkpoint(source.entry)
    worlds = checkpoint[MARKER]["worlds"]
    if base_task(worlds["env_id"]) != base_task(env_id):
        raise CheckpointError(f"{source.entry} was trained on {worlds['env_id']}, the evaluation is on {env_id}.")
    algorithm: Any = build_algorithm(checkpoint, source.entry)
    own = attackers_of(algorithm).get("learned") if hasattr(algorithm, "opponent") else None
    return LoadedPolicy(
        build_policy(checkpoint, source.entry).act,
        PolicyLabel(source.method, source.entry, int(worlds["seed"])),
        env_steps=int(checkpoint["state_dict"].get("env_steps", 0)),
        adversary=own,
        adversary_task=worlds["env_id"] if own else "",
        origin=checkpoint[MARKER],
    )


def _from_sb3(source: PolicySource) -> LoadedPolicy:
    loaded = load_sb3_policy(Path(source.entry))
    seed = source.place if loaded.seed is None else loaded.seed
    return LoadedPolicy(loaded.policy, PolicyLabel(source.method, source.entry, seed), env_steps=loaded.num_steps)


def _from_function(source: PolicySource) -> LoadedPolicy:
    make = _find_function(source.entry)
    try:
        policy = make()
    except Exception as error:  # whatever its author raises
        message = f"{source.entry} must take no argument and return the policy, but calling it failed ({_kind(error)})."
        raise CheckpointError(message) from error
    if not callable(policy):
        raise CheckpointError(f"{source.entry} must return a callable, got {type(policy).__name__}.")
    return LoadedPolicy(policy, PolicyLabel(source.method, source.entry, source.place))


def _find_function(entry: str) -> Callable[[], Policy]:
    """Import what ``module:function`` names."""
    module_name, _, name = entry.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # it runs as it is imported, so anything can happen
        reason = f"importing the module {module_name} failed ({_kind(error)})"
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            reason = f"there is no module {error.name}"
        raise CheckpointError(f"{entry} must be an importable module:function, but {reason}.") from error
    if not hasattr(module, name):
        functions = [known for known, item in vars(module).items() if callable(item)]
        reason = f"the module {module_name} has no function {name}{suggestion(name, functions)}"
        raise CheckpointError(f"{entry} must be an importable module:function, but {reason}")
    function: Callable[[], Policy] = getattr(module, name)
    if not callable(function):
        raise CheckpointError(f"{entry} must be a function that returns the policy, got {type(function).__name__}.")
    return function


def _kind(error: Exception) -> str:
    """Name an error with the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def _check_fits(policy: Policy, entry: str, env_id: str) -> None:
    """Let a policy act on the first observations of the task."""
    envs = make_vec_env(env_id, 2)
    try:
        observations = np.asarray(envs.reset()[0], dtype=np.float64)
        wanted = (2, envs.single_action_space.shape[0])  # type: ignore[index]  # a flat box, which make_vec_env checks
    finally:
        envs.close()
    try:
        actions = np.asarray(policy(observations), dtype=np.float64)
    except Exception as error:  # whatever a network says of a wrong size
        size = observations.shape[1]
        message = f"{entry} cannot act on the {size} observations of {env_id} ({_kind(error)})."
        raise CheckpointError(message) from error
    if actions.shape != wanted or not np.isfinite(actions).all():
        raise CheckpointError(
            f"{entry} must answer 2 observations of {env_id} with finite actions of shape {list(wanted)}, "
            f"got shape {list(actions.shape)}."
        )
