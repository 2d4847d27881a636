"""A checkpoint reduced to its policy: small enough to hand on, and loaded like any other."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from lightning import LightningModule
from torch import Tensor

from rrl.checkpoints.io import AtomicCheckpointIO
from rrl.checkpoints.loading import MARKER, CheckpointError, build_algorithm, read_checkpoint
from rrl.configuration import class_path
from rrl.policies import ActorCritic, ActorSnapshot, Learner
from rrl.spaces import Spaces
from rrl.types import Actor

TRAINED_BY = "trained_by"
"""Entry of the mark of such a checkpoint: the algorithm that has trained the policy."""
SETTINGS = ("spaces", "learner")


class PolicyOnly(LightningModule):
    """A policy without what has trained it: what :func:`write_policy` writes is loaded as this."""

    env_steps: Tensor
    """Real environment steps of its training."""

    def __init__(self, spaces: Spaces, learner: Learner) -> None:
        super().__init__()
        self.spaces = spaces
        self.register_buffer("env_steps", torch.zeros((), dtype=torch.long))
        self.protagonist = ActorCritic(spaces.obs_dim, spaces.action_dim, learner)

    def rollout_actor(self) -> Actor:
        """Return the policy as it acts."""
        return ActorSnapshot(self.protagonist)


def write_policy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Write a checkpoint that holds the policy of another one, its value function and the worlds of its training.

    Optimisers, models, adversaries, random states, replay buffers and the tracking server are left out: it is judged
    and exported as the other one, but no run can go on from it.

    Raises:
        CheckpointError: If the source holds no policy of this package.
    """
    content = read_checkpoint(source)
    algorithm, settings, mark = build_algorithm(content, source), content["hyper_parameters"], content[MARKER]
    if not (isinstance(getattr(algorithm, "protagonist", None), ActorCritic) and set(SETTINGS) <= settings.keys()):
        raise CheckpointError(f"{source} holds a {type(algorithm).__name__}, whose policy cannot stand alone.")
    kept = {
        name: value
        for name, value in content["state_dict"].items()
        if name == "env_steps" or name.startswith("protagonist.")
    }
    about = {"algorithm": class_path(PolicyOnly), TRAINED_BY: mark.get(TRAINED_BY, mark["algorithm"])}
    slim = {
        MARKER: mark | about | {"run_id": None, "tracking_uri": None},
        "state_dict": kept,
        "hyper_parameters": {name: settings[name] for name in SETTINGS},
        "datamodule_hyper_parameters": content.get("datamodule_hyper_parameters", {}),
    }
    AtomicCheckpointIO().save_checkpoint(slim, target)
    return Path(target)
