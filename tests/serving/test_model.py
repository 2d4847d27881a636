"""A finished run leaves a policy that MLflow loads and serves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest

import train
from rrl.checkpoints import RunState, load_policy
from rrl.serving import save_model
from tests.conftest import PROJECT
from tests.fitting import fit, rollouts, trpo

OBSERVATIONS = np.random.default_rng(0).normal(size=(3, 2))


@pytest.fixture
def model(tmp_path):
    data = rollouts()
    trainer = fit(trpo(data), data, callbacks=(RunState(),))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    save_model(tmp_path / "last.ckpt", tmp_path / "policy_model", data.spaces)
    return tmp_path / "policy_model"


@pytest.mark.filterwarnings("ignore")
def test_mlflow_loads_it_and_it_acts_as_the_policy(model):
    loaded = mlflow.pyfunc.load_model(str(model))
    expected = load_policy(model.parent / "last.ckpt").act(OBSERVATIONS)
    np.testing.assert_array_equal(loaded.predict(OBSERVATIONS), expected)
    assert not list(model.rglob("*.pkl"))


@pytest.mark.slow
def test_a_finished_run_has_it_and_mlflow_serves_it(workdir, monkeypatch):
    monkeypatch.setattr("rrl.serving.model.save_model", save_model)
    assert train.main(["--config", str(PROJECT / "tests" / "conf" / "toy.yaml")]) == 0
    (folder,) = workdir.glob("mlruns/*/artifacts/policy_model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "-p", str(port)]
    place = str(Path(sys.executable).parent)  # where the server's own command is
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PATH": f"{place}:{os.environ['PATH']}"}
    server = subprocess.Popen([*command, "--env-manager", "local", "-h", "127.0.0.1"], env=environment)
    seen = np.array([[0.1, 0.2, 0.3]])
    body = json.dumps({"inputs": seen.tolist()}).encode()
    url = f"http://127.0.0.1:{port}/invocations"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        answer = _ask(request)
    finally:
        server.terminate()
        server.wait()
    (last,) = workdir.glob("runs/*/checkpoints/last.ckpt")
    np.testing.assert_allclose(answer["predictions"], load_policy(last).act(seen), rtol=1e-6)


def _ask(request):
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return json.load(reply)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)
