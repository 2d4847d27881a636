"""Reading a checkpoint back, as the algorithm that was trained or as the policy it learnt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rrl.checkpoints.digest import DIGEST, check_whole, digest
from rrl.checks import has_types, near_file, on_one_line, suggestion
from rrl.configuration import UnknownClassError, class_path, find_class, from_plain, require_settings
from rrl.policies import ActorCritic
from rrl.shipped import shipped_policies
from rrl.spaces import Spaces
from rrl.types import Actor, HasActor

if TYPE_CHECKING:
    from lightning import LightningDataModule, LightningModule

ZOO = "zoo:"
"""What the name of a shipped policy begins with wherever the path of a checkpoint may stand: ``zoo:hopper/adrrl``."""
MARKER = "rrl"
"""Key under which a checkpoint of this package says so."""
FORMAT = 3
"""Format version; bump on incompatible changes."""
MARK = {"format": int, "version": str, "algorithm": str, "run_id": str | None, "run_name": str | None}
"""What every mark holds, and of which type."""
WORLDS = {"env_id": str, "seed": int, "env_kwargs": dict | None}
"""What a mark says of the worlds in which a run was trained."""
MORE_WORLDS = {"wrappers": dict | None, "max_episode_steps": int | None, "adversary": dict | None}
"""What it may say too."""
SIZES_OF_WORK = {
    "num_steps",
    "iterations_per_epoch",
    "model_updates",
    "model_batch_size",
    "imagined_trajectories",
    "policy_updates",
    "recent_starts",
    "start_candidates",
}
"""Settings of the data that a continued run may change: nothing that a checkpoint stores depends on them."""


class CheckpointError(ValueError):
    """A file that is not a usable checkpoint of this package; the message is one line for the user."""

    def __init__(self, message: str) -> None:
        super().__init__(on_one_line(message))


class Policy:
    """The mean action of a trained actor on NumPy observations, in the type and within the box of its actions."""

    def __init__(self, actor: Actor, spaces: Spaces) -> None:
        self._actor, self._obs_dim = actor, spaces.obs_dim
        self._low, self._high = np.array(spaces.action_low), np.array(spaces.action_high)
        self._dtype = np.dtype(spaces.action_dtype)

    def act(self, observation: NDArray[Any]) -> NDArray[np.floating]:
        """Choose actions ``[N, A]`` in the environment's units for raw observations ``[N, O]``, or one for ``[O]``.

        ValueError for anything else, and for observations that are not finite.
        """
        size, is_array = self._obs_dim, isinstance(observation, np.ndarray) and observation.dtype.kind in "biuf"
        if not (is_array and observation.ndim in {1, 2} and observation.shape[-1] == size):
            got = (
                f"shape {list(observation.shape)}"
                if is_array
                else getattr(observation, "dtype", type(observation).__name__)
            )
            raise ValueError(f"`observation` must be a NumPy array of numbers, [{size}] or [N, {size}], got {got}.")
        observations = torch.as_tensor(np.atleast_2d(observation), dtype=torch.float32)
        if not observations.isfinite().all():
            raise ValueError("`observation` must be finite, got nan or inf.")
        noise = torch.zeros(len(observations), len(self._low))
        with torch.no_grad():
            actions = self._actor.act(observations, noise)
        clipped = np.clip(actions.numpy().astype(np.float64), self._low, self._high).astype(self._dtype)
        return clipped if observation.ndim > 1 else clipped[0]


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Load the policy of a checkpoint, or a shipped one such as ``zoo:hopper/adrrl``, on the CPU.

    A file that holds no policy, or a name that the zoo does not know, raises a ``CheckpointError``.
    """
    algorithm = load_algorithm(path)
    spaces = cast(HasActor, algorithm).spaces
    return Policy(actor_of(algorithm), spaces)


def load_algorithm(path: str | os.PathLike[str]) -> LightningModule:
    """Load the algorithm of a checkpoint with its parameters, see :func:`read_checkpoint`, :func:`build_algorithm`."""
    return build_algorithm(read_checkpoint(path), path)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read Lightning's dictionary from a checkpoint that ``train.py`` has written, with tensors on the CPU.

    Safe for files of unknown origin: only plain types are accepted. ``zoo:NAME`` means a shipped policy.

    Raises:
        CheckpointError: If the file is missing, damaged, changed since, or not a checkpoint of this package.
    """
    file = checkpoint_file(path)
    try:
        check_whole(file)
        checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen unrelated types for a file that is not one of its own
        raise CheckpointError(f"{path} is not a checkpoint, or is damaged.") from error
    if not (
        has_types(checkpoint, {MARKER: dict, "state_dict": dict})
        and has_types(mark := checkpoint[MARKER], MARK)
        and all(isinstance(value, Tensor) for value in checkpoint["state_dict"].values())
    ):
        raise CheckpointError(f"{path} is not a checkpoint that rrl has written.")
    if mark["format"] != FORMAT:
        age = "newer" if mark["format"] > FORMAT else "older"
        raise CheckpointError(
            f"{path} was written by the {age} rrl {mark['version']} (format {mark['format']}, here {FORMAT}): "
            "use it with that version, or train it anew."
        )
    if DIGEST in checkpoint and checkpoint[DIGEST] != digest(checkpoint):  # written by other plugins there is none
        raise CheckpointError(f"{path} has been changed since it was written.")
    return checkpoint


def checkpoint_file(path: str | os.PathLike[str]) -> Path:
    """Find the file of a checkpoint, or of the shipped policy ``zoo:NAME``; CheckpointError if there is none."""
    is_shipped, name = str(path).startswith(ZOO), str(path).removeprefix(ZOO)
    if is_shipped and name not in (known := shipped_policies()):
        raise CheckpointError(f"The zoo has no policy '{name}'{suggestion(name, known)} `rrl zoo` lists them.")
    file = known[name] if is_shipped else Path(path)
    if file.is_dir():
        raise CheckpointError(f"{path} is a folder; name a checkpoint in it, such as checkpoints/last.ckpt.")
    if not file.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}{near_file(path)}")
    return file


def check_finite(module: LightningModule, state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError if a stored parameter of a module, or a statistic of a player, is not a finite number."""
    names = {name for name, _ in module.named_parameters()}
    for place, part in module.named_modules():
        if isinstance(part, ActorCritic):
            names |= {f"{place}.{name}".lstrip(".") for name in part.state_dict()}
    for name in sorted(names & state.keys()):
        if not state[name].isfinite().all():
            raise CheckpointError(f"{path} holds `{name}`, which is not finite.")


def worlds_of(checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the recipe of the worlds of a checkpoint; CheckpointError if it has none that can be followed."""
    worlds: Any = checkpoint[MARKER].get("worlds")
    if not (has_types(worlds, WORLDS) and has_types(dict.fromkeys(MORE_WORLDS) | worlds, MORE_WORLDS)):
        raise CheckpointError(f"{path} does not say in which worlds it was trained.")
    return {**dict.fromkeys(MORE_WORLDS), **worlds}


def actor_of(algorithm: LightningModule) -> Actor:
    """Return the actor of any algorithm of this package, on the CPU."""
    return cast(HasActor, algorithm).rollout_actor()


def check_fits(checkpoint: dict[str, Any], module: LightningModule) -> None:
    """Refuse to continue a run with an algorithm or with sizes that are not those of its checkpoint.

    Raises:
        CheckpointError: If the class, or the name or shape of any tensor differs.
    """
    trained, configured = checkpoint[MARKER]["algorithm"], class_path(type(module))
    if trained != configured:
        raise CheckpointError(f"The checkpoint holds {trained}, but the configuration asks for {configured}.")
    stored = {name: list(tensor.shape) for name, tensor in checkpoint["state_dict"].items()}
    wanted = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            shapes = f"{stored.get(name, 'nothing')} in the checkpoint, {wanted.get(name, 'nothing')} as configured"
            raise CheckpointError(f"The checkpoint does not fit the configured model: `{name}` is {shapes}.")
    check_finite(module, checkpoint["state_dict"], "The checkpoint")


def check_same_worlds(checkpoint: dict[str, Any], data: LightningDataModule, num_processes: int) -> None:
    """Refuse to continue a run in other worlds than those whose state its checkpoint holds, or with another buffer.

    Raises:
        CheckpointError: If such a setting or the number of processes differs.
    """
    stored, state = checkpoint.get("datamodule_hyper_parameters", {}), checkpoint.get(type(data).__qualname__, {})
    ranks = state.get("ranks", [None] * num_processes) if isinstance(state, dict) else None
    if not (isinstance(stored, dict) and isinstance(ranks, list)):
        raise CheckpointError("The checkpoint holds no state of its worlds that a run could go on from.")
    for name in sorted((stored.keys() & data.hparams.keys()) - SIZES_OF_WORK):
        if not _are_equal(stored[name], data.hparams[name]):
            setting = "seed_everything" if name == "seed" else f"data.{name}"
            raise CheckpointError(
                f"The checkpoint has `{setting}` {stored[name]}, but the configuration {data.hparams[name]}; "
                "a run must be continued with the same."
            )
    if len(ranks) != num_processes:
        raise CheckpointError(
            f"The checkpoint was written by {len(ranks)} processes, this run has {num_processes}; "
            f"continue it with as many, such as `--trainer.devices {len(ranks)}`."
        )


def _are_equal(stored: Any, value: Any) -> bool:
    """Compare a value of a checkpoint, which may be anything, with a setting."""
    try:
        return bool(stored == value)
    except (RuntimeError, TypeError, ValueError):  # of tensors
        return False


def build_algorithm(checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> LightningModule:
    """Build the algorithm that a checkpoint holds, on the CPU, in evaluation mode and without gradients.

    Raises:
        CheckpointError: If its class is not known here, or its settings or parameters are not those of today.
    """
    from lightning import LightningModule

    name = checkpoint[MARKER]["algorithm"]
    try:
        cls = find_class(name)
        if not issubclass(cls, LightningModule):
            raise UnknownClassError(f"a {name}, which is not a LightningModule")
        settings = from_plain(checkpoint.get("hyper_parameters", {}))
        require_settings(cls, settings)
    except UnknownClassError as error:
        raise CheckpointError(f"{path} holds {error}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} holds settings that are not those of today: {error}") from error
    try:
        module = cls(**settings)
        module.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        # Of parameters, of arguments, of their values, and of one kind of setting in the place of another.
        raise CheckpointError(
            f"{path} holds a {cls.__name__} whose parameters or settings are not those of today."
        ) from error
    check_finite(module, checkpoint["state_dict"], path)
    return module.eval().requires_grad_(False)
