"""An environment of the user's own, as hostile as Gymnasium allows, from training to the report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
import pytest

import evaluate
import train
from rrl import load_policy
from tests.conftest import PROJECT
from tests.robots import write_module

pytestmark = [
    pytest.mark.filterwarnings("ignore:The run goes on in new episodes"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:.*share an object"),
]
CONFIG = """
model:
  class_path: TRPO
data:
  class_path: RolloutDataModule
  init_args:
    env_id: my_robots:mine/Nested-v0
    max_episode_steps: 20
    wrappers: {gymnasium.wrappers.FlattenObservation: null}
    num_envs: 4
    num_steps: 40
    iterations_per_epoch: 2
evaluation: {num_episodes: 2, every_n_epochs: 1}
trainer: {max_epochs: 2}
"""
EVALUATION = """
env_id: my_robots:mine/Nested-v0
max_episode_steps: 20
wrappers: {gymnasium.wrappers.FlattenObservation: null}
policies: {TRPO: [runs]}
suite: general
episodes: 2
"""


@pytest.fixture
def home(workdir, monkeypatch):
    write_module(workdir, monkeypatch)
    (workdir / "train.yaml").write_text(CONFIG)
    (workdir / "evaluation.yaml").write_text(EVALUATION)
    yield workdir
    sys.modules.pop("my_robots", None)
    for name in [name for name in gymnasium.registry if name.startswith("mine/")]:
        del gymnasium.registry[name]


def last_of(home: Path) -> Path:
    (path,) = home.glob("runs/*/checkpoints/last.ckpt")
    return path


def forget_module() -> None:
    """As in a new process: nothing of the user's own is imported."""
    sys.modules.pop("my_robots", None)
    for name in [name for name in gymnasium.registry if name.startswith("mine/")]:
        del gymnasium.registry[name]


def test_it_trains_resumes_is_evaluated_and_acts(home, capsys):
    assert train.main(["--config", "train.yaml"]) == 0
    last = last_of(home)
    assert train.main(["--config", "train.yaml", "--ckpt_path", str(last), "--trainer.max_epochs", "3"]) == 0

    forget_module()
    policy = load_policy(last)  # needs no environment
    action = policy.act(np.array([0.5, -0.5]))
    assert "my_robots" not in sys.modules
    assert action.dtype == np.float32
    assert gymnasium.spaces.Box(-0.3, 0.3, (2,), np.float32).contains(action)

    assert evaluate.main(["--checkpoint", str(last), "--episodes", "2"]) == 2
    assert "imported only if you name it: give --env_id" in capsys.readouterr().err
    assert "my_robots" not in sys.modules
    named = ["--env_id", "my_robots:mine/Nested-v0"]
    assert evaluate.main(["--checkpoint", str(last), "--episodes", "2", *named]) == 0

    forget_module()
    assert evaluate.main(["--config", "evaluation.yaml"]) == 0
    rows = pd.read_csv(home / "evaluations" / "results.csv")
    assert set(rows["sweep"]) == {"nominal", "observation noise", "action noise", "action delay"}
    assert rows["length_mean"].eq(20.0).all()
    assert (home / "evaluations" / "report.html").is_file()
    assert "was not put through: mass, friction, damping, gear, gravity" in capsys.readouterr().out


@pytest.mark.slow
def test_it_goes_on_after_a_kill_and_workers_agree_with_one_process(home):
    command = [sys.executable, str(PROJECT / "train.py"), "--config", "train.yaml", "--trainer.max_epochs", "10000"]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(home.glob("runs/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resume = [*command[:4], "--trainer.max_epochs", "1000", "--ckpt_path", str(last_of(home))]
    again = subprocess.run(
        [*resume, "--trainer.max_time", "00:00:00:05"], env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0
    assert again.stderr.count("The run goes on in new episodes") == 1
    results = {}
    for workers in ("1", "2"):
        options = ["--workers", workers, "--output", f"evaluations/{workers}"]
        script = [sys.executable, str(PROJECT / "evaluate.py"), "--config", "evaluation.yaml", *options]
        assert subprocess.run(script, env=environment, capture_output=True, check=False).returncode == 0
        rows = pd.read_csv(home / "evaluations" / workers / "results.csv")
        results[workers] = rows.sort_values("cell").drop(columns="seconds").reset_index(drop=True)
    pd.testing.assert_frame_equal(results["1"], results["2"])


@pytest.mark.slow
def test_workers_load_an_algorithm_of_the_users_own_once_it_is_listed(home, capsys, monkeypatch):
    (home / "my_algorithm.py").write_text("from rrl.algorithms import TRPO\n\n\nclass Mine(TRPO):\n    pass\n")
    Path("train.yaml").write_text(CONFIG.replace("TRPO", "my_algorithm.Mine"))
    assert train.main(["--config", "train.yaml"]) == 0
    sys.modules.pop("my_algorithm")
    forget_module()
    command = ["--config", "evaluation.yaml", "--workers", "2"]
    assert evaluate.main(command) == 2
    assert "holds a my_algorithm.Mine; only classes of rrl" in capsys.readouterr().err
    monkeypatch.setenv("RRL_MODULES", "my_algorithm")
    assert evaluate.main(command) == 0
    assert "my_algorithm" in sys.modules
    # What this process has imported, whoever named it, its workers may import too.
    monkeypatch.setenv("RRL_MODULES", "")
    assert evaluate.main([*command, "--output", "again"]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"my_robots:mine": "no_robots:mine"}, "there is no no_robots"),
        ({"Nested": "Nestled"}, r"did you mean 'mine/Nested-v0'?"),
        ({"    max_episode_steps: 20\n": ""}, "`max_episode_steps` must be given"),
        ({"wrappers: {gymnasium.wrappers.FlattenObservation: null}": "pushes: null"}, "FlattenObservation"),
        ({"Nested": "Gridded", "    wrappers": "    #"}, "must hold real numbers"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(home, capsys, change, message):
    text = CONFIG
    for old, new in change.items():
        text = text.replace(old, new)
    (home / "train.yaml").write_text(text)
    assert train.main(["--config", "train.yaml"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (home / "runs").exists()
