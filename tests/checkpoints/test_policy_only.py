"""A checkpoint of the policy alone acts as the whole one, and holds nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import rrl
import train
from rrl.checkpoints import CheckpointError, RunState, read_checkpoint
from rrl.checkpoints.policy_only import write_policy
from rrl.export import describe, main
from rrl.spaces import Spaces
from tests.conftest import PROJECT
from tests.fitting import adrrl, fit, trajectories


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path, data = tmp_path_factory.mktemp("run") / "last.ckpt", trajectories()
    fit(adrrl(data), data, callbacks=(RunState(),)).save_checkpoint(path)
    return path


def test_it_acts_as_the_checkpoint_without_its_models(checkpoint, tmp_path):
    small = write_policy(checkpoint, tmp_path / "new" / "policy.ckpt")
    observations = np.random.default_rng(0).normal(scale=3.0, size=(6, 2))
    expected = rrl.load_policy(checkpoint).act(observations)
    np.testing.assert_array_equal(rrl.load_policy(small).act(observations), expected)
    content = read_checkpoint(small)
    assert {name.partition(".")[0] for name in content["state_dict"]} == {"env_steps", "protagonist"}
    assert not {"optimizer_states", "callbacks", "loops", "buffer_file"} & content.keys()
    assert content["state_dict"]["env_steps"] == read_checkpoint(checkpoint)["state_dict"]["env_steps"] > 0


def test_it_says_which_algorithm_has_trained_it_also_when_reduced_again(checkpoint, tmp_path):
    again = write_policy(write_policy(checkpoint, tmp_path / "a.ckpt"), tmp_path / "b.ckpt")
    mark = read_checkpoint(again)["rrl"]
    assert describe(Spaces(2, 1, [-1.0], [1.0]), mark, None)["algorithm"] == "rrl.algorithms.adrrl.ADRRL"


def test_the_ending_of_an_export_asks_for_it(checkpoint, tmp_path, capsys):
    assert main([str(checkpoint), str(tmp_path / "policy.ckpt")]) == 0
    assert rrl.load_policy(tmp_path / "policy.ckpt").act(np.zeros(2)).shape == (1,)


def test_an_algorithm_without_a_player_of_ours_is_refused(workdir):
    config = str(PROJECT / "tests" / "conf" / "toy.yaml")
    assert train.main(["--config", config, "--trainer.max_epochs", "1"]) == 0
    (path,) = workdir.glob("runs/*/checkpoints/best.ckpt")
    with pytest.raises(CheckpointError, match="holds a ToyAlgorithm, whose policy cannot stand alone"):
        write_policy(path, workdir / "policy.ckpt")
    assert not (workdir / "policy.ckpt").exists()
