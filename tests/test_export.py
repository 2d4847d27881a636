"""A policy that has left acts as it did here, and says what it takes and gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from rrl.checkpoints import RunState, load_policy
from rrl.export import export_policy, main
from tests.fitting import fit, rollouts, trpo

OBSERVATIONS = np.random.default_rng(0).normal(scale=30.0, size=(7, 2))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path, data = tmp_path_factory.mktemp("run") / "last.ckpt", rollouts()
    trainer = fit(trpo(data), data, callbacks=(RunState(),))
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def onnx_file(checkpoint):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    return export_policy(checkpoint, checkpoint.with_name("policy.onnx"))


def test_the_onnx_file_acts_as_the_policy_for_any_number_of_rows(checkpoint, onnx_file):
    import onnxruntime

    session, policy = onnxruntime.InferenceSession(onnx_file), load_policy(checkpoint)
    for count in (1, 2, 7):
        seen = OBSERVATIONS[:count].astype(np.float32)
        (actions,) = session.run(["actions"], {"observations": seen})
        np.testing.assert_allclose(actions, policy.act(seen), atol=1e-5)
        assert np.abs(actions).max() <= 1.0


def test_its_metadata_say_what_it_is(onnx_file):
    import onnx

    found = {entry.key: entry.value for entry in onnx.load(onnx_file).metadata_props}
    assert (found["env_id"], found["action_dtype"]) == ("toy/PointMass-v0", "float32")
    assert json.loads(found["action_low"]) == [-1.0]
    assert len(json.loads(found["observation_mean"])) == len(json.loads(found["observation_names"])) == 2


def test_the_program_of_pytorch_acts_as_the_policy(checkpoint, tmp_path):
    path = export_policy(checkpoint, tmp_path / "new" / "policy.pt2")
    facts = {"policy.json": ""}
    program = torch.export.load(path, extra_files=facts).module()
    for count in (1, 7):
        seen = torch.tensor(OBSERVATIONS[:count], dtype=torch.float32)
        np.testing.assert_allclose(program(seen).numpy(), load_policy(checkpoint).act(seen.numpy()), atol=1e-6)
    assert json.loads(facts["policy.json"])["env_id"] == "toy/PointMass-v0"


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        (b"nothing", "policy.onnx", "is not a checkpoint, or is damaged"),
        (None, "policy.onnx", "There is no checkpoint"),
        (b"nothing", "policy.pkl", "The file must end in .onnx, .pt2 or .ckpt, got "),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, capsys, content, target, message):
    if content is not None:
        (tmp_path / "a.ckpt").write_bytes(content)
    assert main([str(tmp_path / "a.ckpt"), str(tmp_path / "out" / target)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_cut_off_leaves_the_older_file(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "policy.pt2").write_bytes(b"older")
    monkeypatch.setattr("torch.export.save", lambda *args, **more: (_ for _ in ()).throw(OSError("disk full")))
    assert main([str(checkpoint), str(tmp_path / "policy.pt2")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["policy.pt2"]
    assert (tmp_path / "policy.pt2").read_bytes() == b"older"
