"""Policies that leave: ``rrl export CHECKPOINT FILE`` writes a file that a robot runs without this package.

``rrl export CHECKPOINT policy.ckpt`` writes a small checkpoint that holds the policy alone.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import mujoco
import torch
from torch import Tensor, nn

import rrl
from rrl.checkpoints import CheckpointError, actor_of, build_algorithm, read_checkpoint
from rrl.checkpoints.loading import MARKER, worlds_of
from rrl.checkpoints.policy_only import TRAINED_BY, write_policy
from rrl.envs.bodies import ADVERSARIAL_TASKS
from rrl.envs.tasks import SHIPPED
from rrl.options import OptionParser
from rrl.policies import ActorCritic
from rrl.spaces import Spaces
from rrl.types import Actor, HasActor

INPUT, OUTPUT = "observations", "actions"
"""Names of what the file takes, raw observations ``[N, O]``, and gives, actions ``[N, A]``; float32."""
SUFFIXES = (".onnx", ".pt2", ".ckpt")


class ExportedPolicy(nn.Module):
    """Normalisation, mean action and clipping to the action box in one module."""

    def __init__(self, actor: Actor, spaces: Spaces) -> None:
        super().__init__()
        self._actor, self._action_dim = actor, spaces.action_dim
        self.register_buffer("low", torch.tensor(spaces.action_low))
        self.register_buffer("high", torch.tensor(spaces.action_high))

    def forward(self, observations: Tensor) -> Tensor:
        """Choose actions ``[N, A]`` for raw observations ``[N, O]``."""
        noise = observations.new_zeros(observations.shape[0], self._action_dim)
        return torch.clamp(self._actor.act(observations, noise), cast(Tensor, self.low), cast(Tensor, self.high))


def export_policy(checkpoint: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Write the policy of a checkpoint as its ending says: ``.onnx``, ``.pt2`` (``torch.export``) or ``.ckpt``.

    It takes any number of raw observations and gives actions inside their box. The description that
    :func:`describe` makes lies in the metadata of the ONNX file, or as ``policy.json`` in that of ``torch.export``.
    A ``.ckpt`` is for this package: a checkpoint without all that a policy does not need, see :func:`write_policy`.

    Raises:
        CheckpointError: If the checkpoint holds no usable policy.
        ValueError: If the ending is another one, or ``onnx`` or ``onnxscript`` is missing.
    """
    target = Path(target)
    if target.suffix not in SUFFIXES:
        raise ValueError(f"The file must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got {target}.")
    if target.suffix == ".ckpt":
        return write_policy(checkpoint, target)
    content = read_checkpoint(checkpoint)
    algorithm = build_algorithm(content, checkpoint)
    spaces = cast(HasActor, algorithm).spaces
    policy = ExportedPolicy(actor_of(algorithm), spaces).eval()
    player = getattr(algorithm, "protagonist", None)
    facts = describe(spaces, content[MARKER] | {"worlds": worlds_of(content, checkpoint)}, player)
    example = (torch.zeros(2, spaces.obs_dim),)  # one row would be taken for a size that never changes
    shapes = {INPUT: {0: torch.export.Dim("batch")}}
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        write = _write_onnx if target.suffix == ".onnx" else _write_program
        write(policy, example, shapes, facts, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def describe(spaces: Spaces, mark: Mapping[str, Any], player: Any) -> dict[str, Any]:
    """Describe a policy: where it was trained, and names, units and ranges of what it sees and does."""
    env_id = str(mark["worlds"]["env_id"])
    facts: dict[str, Any] = {
        "rrl_version": rrl.__version__,
        "algorithm": mark.get(TRAINED_BY, mark["algorithm"]),
        "env_id": env_id,
        "env_kwargs": mark["worlds"]["env_kwargs"],
        "wrappers": mark["worlds"]["wrappers"],
        "step_seconds": spaces.step_seconds,
        "observation_names": [f"observation[{index}]" for index in range(spaces.obs_dim)],
        "observation_unit": "the environment's own, not normalised",
        "action_names": _action_names(env_id) or [f"action[{index}]" for index in range(spaces.action_dim)],
        "action_unit": "the environment's own, already clipped",
        "action_low": spaces.action_low,
        "action_high": spaces.action_high,
        "action_dtype": spaces.action_dtype,
    }
    if isinstance(player, ActorCritic):
        facts["observation_mean"] = player.normalizer.mean.tolist()
        facts["observation_std"] = player.normalizer.variance.sqrt().tolist()
    return facts


def _action_names(env_id: str) -> list[str]:
    """Name the joints that the actuators of a shipped task drive; nothing for other environments."""
    base = ADVERSARIAL_TASKS[env_id].env_id if env_id in ADVERSARIAL_TASKS else env_id
    for task in SHIPPED:
        if task.env_id == base:
            model = mujoco.MjModel.from_xml_path(str(task().model_path))
            return [model.joint(model.actuator_trnid[index, 0]).name for index in range(model.nu)]
    return []


def _write_onnx(
    policy: nn.Module, example: tuple[Tensor], shapes: dict[str, Any], facts: Mapping[str, Any], path: Path
) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401  (PyTorch's exporter needs it)
    except ImportError as error:
        raise ValueError(f"ONNX files need {error.name}; `pip install onnx onnxscript` installs it.") from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself
        program = torch.onnx.export(policy, example, dynamo=True, dynamic_shapes=shapes, verbose=False, **names)
    if program is None:
        raise ValueError("PyTorch gave no ONNX program.")
    model = program.model_proto
    onnx.helper.set_model_props(model, {name: _text(value) for name, value in facts.items()})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _write_program(
    policy: nn.Module, example: tuple[Tensor], shapes: dict[str, Any], facts: Mapping[str, Any], path: Path
) -> None:
    program = torch.export.export(policy, example, dynamic_shapes=shapes)
    torch.export.save(program, path, extra_files={"policy.json": json.dumps(facts)})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def main(args: list[str] | None = None) -> int:
    """Export as the arguments say; the exit code is 2 for bad input."""
    parser = OptionParser(prog="rrl export", description=__doc__)
    parser.add_argument("checkpoint", help="checkpoint that a training has written, or zoo:NAME")
    parser.add_argument("target", help="file to write: policy.onnx, policy.pt2 for torch.export, or policy.ckpt")
    try:
        options = parser.parse_args(args)
        path = export_policy(options.checkpoint, options.target)
    except (CheckpointError, ValueError, OSError) as error:
        sys.stderr.write(f"rrl export: error: {' '.join(str(error).split())}\n")
        return 2
    sys.stdout.write(f"policy: {path}\n")
    return 0
