"""The package as it is installed: a wheel that works where there is nothing of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.mujoco]
COMMANDS = """
import numpy as np

import rrl
from rrl.main import main

short = ["--trainer.max_epochs=1", "--data.init_args.iterations_per_epoch=1", "--evaluation.num_episodes=1"]
name = "--trainer.logger.init_args.run_name=r"
assert main(["train", "--config", "conf/trpo_invertedpendulum.yaml", *short, name]) == 0
policies = '--policies={"TRPO": ["runs/r"]}'
quick = ["--config", "conf/evaluation/quick.yaml", "--episodes=1", "--attacks=null"]
assert main(["evaluate", *quick, policies]) == 0
last = "runs/r/checkpoints/last.ckpt"
assert main(["export", last, "policy.onnx"]) == 0
assert main(["zoo"]) == 0
assert rrl.load_policy(last).act(np.zeros(4)).shape == (1,)
assert rrl.load_policy("zoo:hopper/trpo").act(np.zeros(11)).shape == (3,)
print(rrl.__file__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that holds what a wheel of the package installs."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def test_it_trains_evaluates_exports_and_loads_in_an_empty_folder(site, tmp_path):
    pytest.importorskip("onnx")
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", COMMANDS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(site / "rrl" / "__init__.py")
    assert (tmp_path / "evaluations" / "quick" / "report.html").is_file()
    assert (tmp_path / "policy.onnx").is_file()


def test_it_carries_types_configurations_suites_and_policies(site):
    assert (site / "rrl" / "py.typed").is_file()
    shipped = {path.relative_to(PROJECT / "conf") for path in (PROJECT / "conf").rglob("*.yaml")}
    assert shipped == {path.relative_to(site / "rrl" / "conf") for path in (site / "rrl" / "conf").rglob("*.yaml")}
    assert {path.name for path in (site / "rrl" / "zoo" / "policies").rglob("*.ckpt")}
    assert not (site / "tests").exists()
