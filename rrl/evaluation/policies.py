"""Policies from anywhere: what an evaluation names, found, checked and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from rrl.checkpoints import CheckpointError, actor_of, build_algorithm, read_checkpoint
from rrl.checkpoints.loading import MARKER, worlds_of
from rrl.checks import kind_of
from rrl.configuration import named_modules
from rrl.envs import ADVERSARIAL_TASKS, AdversaryBodies
from rrl.evaluation.attacks.attackers import HasOpponent, MakeAttacker, attackers_of
from rrl.evaluation.attacks.trained import Battlefield
from rrl.evaluation.cells.suites import base_task
from rrl.evaluation.episodes import BatchPolicy, MeanActions, Trial
from rrl.evaluation.policies_files import find_files
from rrl.evaluation.policies_functions import call_function, is_function, require_own
from rrl.evaluation.policies_sb3 import FIND, load_sb3_policy
from rrl.evaluation.rows import PolicyLabel, require_no_formula
from rrl.types import HasActor


class PolicySource(NamedTuple):
    """Where one policy is, in a form that any process can load it from."""

    method: str
    entry: str
    """Path of a file, or ``module:function``."""
    place: int
    """Number within its method, from 0: its training seed where that is not known."""
    normalization: str | None = FIND
    """Of a policy of Stable-Baselines3: the file of its statistics, None for none."""


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy, and what is known of its training."""

    act: BatchPolicy
    label: PolicyLabel
    env_steps: int | None = None
    """Environment steps of the training."""
    adversary: MakeAttacker | None = None
    """The adversary that it was trained with, never gated."""
    battlefield: Battlefield | None = None
    """Where that one pushes."""
    note: str = ""
    """What a reader must know of it, as a sentence."""
    physics: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Factors of the nominal physics that its training drew from, by parameter."""
    worlds: Mapping[str, Any] = field(default_factory=dict)
    """Those in which a checkpoint of this package was trained, see ``worlds_of``."""
    mark: Mapping[str, Any] = field(default_factory=dict)
    """That in a checkpoint of this package: run, tracking address, version."""
    modules: frozenset[str] = frozenset()
    """Other modules than this package's in which classes of a checkpoint lie."""


Entry = str | dict[str, str | None]


def find_policies(methods: Mapping[str, Sequence[Entry]]) -> list[PolicySource]:
    """Find all policies of an evaluation.

    An entry is a checkpoint of this package (``.ckpt``), a policy of Stable-Baselines3 (``.zip``), a pattern (``*``)
    or a folder of such files, a shipped policy (``zoo:NAME``), the id of an MLflow run, or ``module:function``, where
    the function takes no argument and returns the policy: a callable from observations ``[N, O]`` to actions
    ``[N, A]``. Of a run it is always the last checkpoint, never the best: that one was chosen for its luck.
    ``{zip: ..., normalization: ...}`` names the statistics with which a policy of Stable-Baselines3 was trained, null
    for none.

    The policies come method by method. An entry that leads to nothing, and a policy that is named twice, are a
    CheckpointError; no entries a ValueError.
    """
    if not methods:
        raise ValueError("`policies` must name at least one method.")
    sources: list[PolicySource] = []
    for method, entries in methods.items():
        if not entries:
            raise ValueError(f"`policies` has no entries for {method!r}.")
        pairs = [pair for entry in entries for pair in _of_entry(entry)]
        found = [name for name, _ in pairs]
        require_no_formula(method, *found)
        for name in found:
            if is_function(name):
                require_own(name)
            if found.count(name) > 1:
                raise CheckpointError(f"The policy {name} is named twice for {method!r}.")
        sources += [PolicySource(method, name, place, using) for place, (name, using) in enumerate(pairs)]
    return sources


def _of_entry(entry: Entry) -> list[tuple[str, str | None]]:
    """Find the policies of one entry, with the statistics that it names."""
    if isinstance(entry, dict):
        if set(entry) != {"zip", "normalization"} or not str(entry["zip"]).endswith(".zip"):
            raise CheckpointError(f"A policy is a name or {{zip: FILE.zip, normalization: FILE.pkl}}, got {entry}.")
        return [(name, entry["normalization"]) for name in find_files(str(entry["zip"]))]
    if is_function(entry):
        return [(entry, FIND)]
    return [(name, FIND) for name in find_files(entry)]


def load_source(source: PolicySource) -> LoadedPolicy:
    """Load a policy; CheckpointError if there is none."""
    if is_function(source.entry):
        label = PolicyLabel(source.method, source.entry, source.place)
        return LoadedPolicy(call_function(source.entry), label)
    if source.entry.endswith(".zip"):
        saved = load_sb3_policy(Path(source.entry), source.normalization)
        seed = source.place if saved.seed is None else saved.seed
        label = PolicyLabel(source.method, source.entry, seed)
        return LoadedPolicy(saved.policy, label, env_steps=saved.num_steps, note=saved.note)
    return _from_checkpoint(source)


def require_fit(policy: LoadedPolicy, trial: Trial) -> None:
    """Refuse a policy that was trained elsewhere, or that cannot act in the environment of a trial: CheckpointError."""
    entry, worlds = policy.label.policy, policy.worlds
    if worlds and base_task(worlds["env_id"]) != base_task(trial.env_id):
        raise CheckpointError(f"{entry} was trained on {worlds['env_id']}, the evaluation is on {trial.env_id}.")
    if worlds and dict(worlds["wrappers"] or {}) != dict(trial.wrappers):
        trained, here = worlds["wrappers"] or {}, dict(trial.wrappers)
        raise CheckpointError(f"{entry} was trained with `wrappers` {trained}, the evaluation has {here}.")
    _check_acts(policy.act, entry, trial)


def _from_checkpoint(source: PolicySource) -> LoadedPolicy:
    checkpoint = read_checkpoint(source.entry)
    mark = checkpoint[MARKER]
    worlds = worlds_of(checkpoint, source.entry)
    algorithm = build_algorithm(checkpoint, source.entry)
    spaces = cast(HasActor, algorithm).spaces
    own = attackers_of(algorithm).get("learned") if isinstance(algorithm, HasOpponent) else None
    return LoadedPolicy(
        MeanActions(actor_of(algorithm), spaces.action_dim),
        PolicyLabel(source.method, source.entry, int(worlds["seed"])),
        env_steps=int(checkpoint["state_dict"].get("env_steps", 0)),
        adversary=own,
        battlefield=_battlefield_of(worlds) if own else None,
        physics=_physics_of(checkpoint),
        worlds=worlds,
        mark=mark,
        modules=frozenset(named_modules([{"class_path": mark["algorithm"]}, checkpoint.get("hyper_parameters")])),
    )


def _battlefield_of(worlds: Mapping[str, Any]) -> Battlefield | None:
    """Find where the adversary of a run pushed; None where it is not known here."""
    bodies, env_id = worlds["adversary"], worlds["env_id"]
    if bodies is not None:
        return Battlefield(env_id, AdversaryBodies(**bodies))
    return Battlefield(env_id, ADVERSARIAL_TASKS[env_id].adversary) if env_id in ADVERSARIAL_TASKS else None


def _physics_of(checkpoint: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Read which factors of the physics a run drew from; nothing where a file says it in another way."""
    try:
        ranges = checkpoint["datamodule_hyper_parameters"]["physics"] or {}
        return {str(name): (float(low), float(high)) for name, (low, high) in ranges.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _check_acts(policy: BatchPolicy, entry: str, trial: Trial) -> None:
    """Let a policy act on the first observations of the task."""
    env_id = trial.env_id
    envs = trial.make_envs(2, trial.seed)
    try:
        observations = np.asarray(envs.reset()[0], dtype=np.float64)
        wanted = (2, envs.single_action_space.shape[0])  # type: ignore[index]  # a flat box, which make_vec_env checks
    finally:
        envs.close()
    try:
        actions = np.asarray(policy(observations), dtype=np.float64)
    except Exception as error:  # whatever a network says of a wrong size
        size = observations.shape[1]
        message = f"{entry} cannot act on the {size} observations of {env_id} ({kind_of(error)})."
        raise CheckpointError(message) from error
    if actions.shape != wanted or not np.isfinite(actions).all():
        raise CheckpointError(
            f"{entry} must answer 2 observations of {env_id} with finite actions of shape {list(wanted)}, "
            f"got shape {list(actions.shape)}."
        )
