"""A checkpoint gives back the policy that was trained, and nothing else passes for one."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from lightning import LightningDataModule, LightningModule

import rrl
import train
from rrl.checkpoints import CheckpointError, Policy, load_algorithm, read_checkpoint
from rrl.checkpoints.loading import check_finite, check_same_worlds
from rrl.policies import ActorCritic
from rrl.spaces import Spaces
from tests.conftest import PROJECT


@pytest.fixture
def checkpoint(workdir):
    config = str(PROJECT / "tests" / "conf" / "toy.yaml")
    assert train.main(["--config", config, "--trainer.max_epochs", "1"]) == 0
    (path,) = workdir.glob("runs/*/checkpoints/best.ckpt")
    return path


def test_policy_takes_the_clipped_mean_action(checkpoint):
    policy = rrl.load_policy(checkpoint)
    algorithm = load_algorithm(checkpoint)
    observation = np.array([0.5, -1.0, 2.0])
    expected = algorithm.mean(torch.as_tensor(observation, dtype=torch.float32)).clamp(-2, 2).numpy()
    np.testing.assert_allclose(policy.act(observation), expected, rtol=1e-6)
    assert policy.act(observation).shape == (1,)
    assert policy.act(np.stack([observation] * 4)).shape == (4, 1)
    assert np.abs(policy.act(1e6 * observation)).max() <= 2.0


def test_loaded_algorithm_has_the_trained_parameters_and_no_gradients(checkpoint):
    algorithm = load_algorithm(checkpoint)
    stored = read_checkpoint(checkpoint)["state_dict"]
    assert all(torch.equal(value, stored[name]) for name, value in algorithm.state_dict().items())
    assert not algorithm.training
    assert not any(parameter.requires_grad for parameter in algorithm.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"algorithm": "nowhere.Nothing"},
            "only classes of rrl, of imported modules and of those listed in RRL_MODULES are loaded",
        ),
        ({"algorithm": "pathlib.Path"}, "not a LightningModule"),
        ({"algorithm": "rrl.algorithms.trpo.TRPO"}, "holds a TRPO whose parameters or settings are not those of today"),
        ({"format": 99, "version": "9.0"}, "newer rrl 9.0"),
        (
            {"format": 1, "version": "0.0"},
            r"older rrl 0.0 \(format 1, here 3\): use it with that version, or train it anew",
        ),
    ],
)
def test_mark_that_cannot_be_followed_is_refused(checkpoint, change, message):
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    content["rrl"] |= change
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match=message):
        load_algorithm(checkpoint)


def test_file_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        read_checkpoint(tmp_path / "missing.ckpt")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CheckpointError, match="is not a checkpoint, or is damaged"):
        read_checkpoint(tmp_path / "text")
    torch.save({"state_dict": {}}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not a checkpoint that rrl has written"):
        read_checkpoint(tmp_path / "foreign")


def test_code_hidden_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"rrl": Evil()}, tmp_path / "evil")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "evil")
    assert not (tmp_path / "executed").exists()


def test_no_module_is_imported_that_the_user_has_not_named(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass TRPO: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    for change in ({"rrl": content["rrl"] | {"algorithm": "evil_module.TRPO"}}, {"hyper_parameters": {"spaces": EVIL}}):
        torch.save(content | change, checkpoint)
        with pytest.raises(CheckpointError, match=r"holds a evil_module\.TRPO; only classes of rrl"):
            load_algorithm(checkpoint)
    assert not (tmp_path / "executed").exists()


def test_a_listed_module_is_imported_and_named_where_it_cannot_be(checkpoint, tmp_path, monkeypatch):
    source = "from tests.toy_training import ToyAlgorithm\nclass Mine(ToyAlgorithm): pass\n"
    (tmp_path / "listed_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    content["rrl"]["algorithm"] = "listed_module.Mine"
    torch.save(content, checkpoint)
    monkeypatch.setenv("RRL_MODULES", "other,listed_module")
    assert type(load_algorithm(checkpoint)).__name__ == "Mine"
    del sys.modules["listed_module"]
    (tmp_path / "listed_module.py").write_text("1 / 0")
    with pytest.raises(CheckpointError, match=r"listed_module.Mine, which cannot be found \(ZeroDivisionError: "):
        load_algorithm(checkpoint)


EVIL = {"class_path": "evil_module.TRPO", "init_args": {}}


def test_flipped_bit_is_noticed(checkpoint):
    whole = checkpoint.read_bytes()
    stored = read_checkpoint(checkpoint)["state_dict"]["mean.weight"].numpy().tobytes()
    flipped = bytearray(whole)
    flipped[whole.index(stored) + 5] ^= 4
    checkpoint.write_bytes(flipped)
    with pytest.raises(CheckpointError, match="is not a checkpoint, or is damaged"):
        read_checkpoint(checkpoint)


def test_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder; name a checkpoint in it"):
        rrl.load_policy(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_parameters_must_be_finite(value, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    content["state_dict"]["mean.weight"][0, 1] = value
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match=r"holds `mean\.weight`, which is not finite"):
        load_algorithm(checkpoint)
    config = str(PROJECT / "tests" / "conf" / "toy.yaml")
    assert train.main(["--config", config, "--ckpt_path", str(checkpoint)]) == 2


@pytest.mark.parametrize("name", ["protagonist.normalizer.variance", "protagonist.value_function.mean"])
def test_statistics_of_players_must_be_finite_and_others_may_be_without_a_value(name):
    module = LightningModule()
    module.protagonist = ActorCritic(obs_dim=3, action_dim=1)
    module.register_buffer("not_measured_yet", torch.tensor(torch.nan))
    state = module.state_dict()
    check_finite(module, state, "a.ckpt")
    state[name] = torch.full_like(state[name], torch.nan)
    with pytest.raises(CheckpointError, match=f"`{name}`, which is not finite"):
        check_finite(module, state, "a.ckpt")


@pytest.mark.parametrize("change", [{"format": "2"}, {"algorithm": 3}, {"run_name": ["x"]}, {"version": None}])
def test_mark_of_other_types_is_not_ours(change, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    torch.save(content | {"rrl": content["rrl"] | change}, checkpoint)
    with pytest.raises(CheckpointError, match="is not a checkpoint that rrl has written"):
        read_checkpoint(checkpoint)
    torch.save(content | {"state_dict": {"mean.weight": "x"}}, checkpoint)
    with pytest.raises(CheckpointError, match="is not a checkpoint that rrl has written"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ([0.0, 0.0, 0.0], r"must be a NumPy array of numbers, \[3\] or \[N, 3\], got list\."),
        ((0.0, 0.0, 0.0), "got tuple"),
        (torch.zeros(3), r"got torch\.float32"),
        (np.zeros(4), r"got shape \[4\]"),
        (np.zeros((2, 4)), r"got shape \[2, 4\]"),
        (np.zeros((1, 2, 3)), r"got shape \[1, 2, 3\]"),
        (np.zeros(()), r"got shape \[\]"),
        (np.array(["a", "b", "c"]), "got <U1"),
        (np.array([0.0, np.nan, 0.0]), "`observation` must be finite, got nan or inf"),
        (np.array([[0.0, np.inf, 0.0]]), "`observation` must be finite, got nan or inf"),
        (np.array([0.0, 1e300, 0.0]), "`observation` must be finite, got nan or inf"),
    ],
)
def test_policy_refuses_what_is_no_observation(observation, message):
    class Still:
        def act(self, observations: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            return noise

    with pytest.raises(ValueError, match=message):
        Policy(Still(), Spaces(3, 1, [-1.0], [1.0])).act(observation)


def test_changed_checkpoint_is_refused(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["mean.weight"] += 1.0
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match="has been changed since it was written"):
        rrl.load_policy(checkpoint)


@pytest.mark.parametrize(
    "settings",
    [
        {"spaces": -1},
        {"spaces": {"class_path": None, "init_args": {}}},
        {"spaces": {}},
        {"learner": 0.5},
        {"learner": None},
        {"policy_update": {"class_path": "rrl.trpo.TrustRegion", "init_args": {"max_kl": torch.zeros(3, 3)}}},
        {"policy_update": {"class_path": "rrl.trpo.TrustRegion", "init_args": {"max_kl": "two\nlines"}}},
    ],
)
def test_settings_of_another_kind_are_a_sentence(settings, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    del content["digest"]
    torch.save(content | {"hyper_parameters": settings}, checkpoint)
    with pytest.raises(CheckpointError, match="settings") as error:
        rrl.load_policy(checkpoint)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"LightningDataModule": {"ranks": torch.tensor(1.0)}},
        {"LightningDataModule": -1},
        {"datamodule_hyper_parameters": []},
    ],
)
def test_worlds_of_another_type_are_a_sentence(change):
    with pytest.raises(CheckpointError, match="no state of its worlds"):
        check_same_worlds(change, LightningDataModule(), 1)
    check_same_worlds({}, LightningDataModule(), 1)


@pytest.mark.parametrize("stored", [torch.zeros(3, 3), "two\nlines"])
def test_setting_of_the_worlds_of_another_type_is_a_sentence(stored):
    data = LightningDataModule()
    data.save_hyperparameters({"num_envs": 2})
    with pytest.raises(CheckpointError, match=r"has `data\.num_envs` .*, but the configuration 2") as error:
        check_same_worlds({"datamodule_hyper_parameters": {"num_envs": stored}}, data, 1)
    assert "\n" not in str(error.value)
