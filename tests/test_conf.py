"""Every shipped configuration is complete: it starts, and survives two updates at a size that takes a second."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

import rrl.algorithms
import rrl.data
import train
from rrl.checkpoints import read_checkpoint
from rrl.tracking.outbox import read_lines
from tests.conftest import PROJECT, undocumented

CONFIGS = sorted(path for path in (PROJECT / "conf").glob("*.yaml") if path.name != "defaults.yaml")
CONTROLS = sorted((PROJECT / "conf" / "controls").glob("*.yaml"))
# The horizon stays as it is: a configuration's denoiser must fit its own.
DATA = {"num_envs": 2, "num_steps": 16, "iterations_per_epoch": 2, "model_updates": 1}
MORE_DATA = {"model_batch_size": 8, "imagined_trajectories": 8, "buffer_size": 200}
MODEL = {
    "gate.min_open_steps": 1,
    "labels.horizon_steps": 4,
    "world_model.return_model.hidden_dim": 16,
    "imagination.warmup": 0,
    "imagination.guidance_warmup": 0,
    "imagination.max_replay_error": 1e9,  # two updates make no good model, and a warning is an error here
    "learner.value_epochs": 1,
}
KINDS = {
    "FewStep": "world_model.solver.init_args.steps=4",
    "DDPM": "world_model.solver.init_args.length=4",
    "ResidualMLP": "world_model.denoiser.init_args.hidden_dim=16",
}
ELSEWHERE = [
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
    "--attacks.num_episodes=1",
    "--evaluation.num_episodes=1",
    "--diagnostics.starts=2",
    "--diagnostics.draws=2",
]


def small(config: Path) -> list[str]:
    """Override what makes a configuration expensive, where its classes know of it."""
    content = yaml.safe_load(config.read_text())
    chosen = [value for kind, value in KINDS.items() if kind in str(content["model"])]
    arguments = [*ELSEWHERE, *(f"--model.init_args.{value}" for value in chosen)]
    for part, module, values in (("model", rrl.algorithms, MODEL), ("data", rrl.data, DATA | MORE_DATA)):
        cls = getattr(module, content[part]["class_path"].split(".")[-1])
        known = {name for base in cls.__mro__[:2] for name in inspect.signature(base).parameters}
        for name, value in values.items():
            group = name.partition(".")[0]
            # Labels by returns know of no horizon, and without a bound there is none to lift.
            no_horizon = group == "labels" and "ReturnLabels" in str(content["model"])
            no_bound = name.endswith("max_replay_error") and "max_replay_error" not in str(content["model"])
            if group in known and not no_horizon and not no_bound:
                arguments.append(f"--{part}.init_args.{name}={value}")
    return arguments


def test_there_are_configurations():
    assert len(CONFIGS) >= 10


def base_of(control: Path) -> Path:
    """Return the configuration after which a control is read, as its own comment says."""
    pattern = rf"python train.py --config conf/(\S+) --config conf/controls/{re.escape(control.name)}"
    (name,) = re.findall(pattern, control.read_text())
    return PROJECT / "conf" / name


def assert_two_updates(last: Path) -> None:
    checkpoint = read_checkpoint(last)
    assert checkpoint["global_step"] >= 2
    assert checkpoint["state_dict"]["env_steps"] == 2 * 2 * 16


# These differ from another configuration in numbers or in the task alone: all of them would take half a minute more.
TWINS = re.compile(
    r".*_(05|50)(_paper)?|adrrl_(halfcheetah|invertedpendulum|reacher)_paper|rcadrrl_walker|trpo_(?!hopper).*_uncertain"
)
TRIED = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * bool(TWINS.fullmatch(path.stem))) for path in CONFIGS
]


@pytest.mark.mujoco
@pytest.mark.parametrize("config", TRIED)
def test_configuration_survives_two_updates(config, workdir):
    assert train.main(["--config", str(config), *small(config)]) == 0
    (last,) = workdir.glob("runs/*/checkpoints/last.ckpt")
    assert_two_updates(last)
    logged = read_lines(last.parent.parent / "metrics.jsonl")
    assert undocumented({name for record in logged for name in record["metrics"]}) == set()


@pytest.mark.mujoco
@pytest.mark.parametrize("control", CONTROLS, ids=lambda path: path.stem)
def test_control_survives_two_updates(control, workdir):
    base = base_of(control)
    # The tracking, which takes longer than the training here, is no different from that of the base.
    arguments = ["--config", str(base), "--config", str(control), *small(base), "--trainer.logger=false"]
    assert train.main(arguments) == 0
    assert_two_updates(workdir / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_configuration_says_how_it_is_run(config):
    assert f"python train.py --config conf/{config.name}" in config.read_text().splitlines()[0]
