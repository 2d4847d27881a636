"""Policies of Stable-Baselines3 act as they do there, with their statistics; without the package a sentence helps."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rrl.checkpoints import CheckpointError
from rrl.evaluation.episodes import Trial
from rrl.evaluation.policies import find_policies, load_source, require_fit

TASK = "InvertedPendulum-v5"
OBSERVATIONS = np.random.default_rng(0).normal(size=(5, 4))


def load_policies(methods, env_id):
    policies = [load_source(source) for source in find_policies(methods)]
    for policy in policies:
        require_fit(policy, Trial(env_id, 1))
    return policies


def test_without_the_package_the_way_to_install_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    (tmp_path / "model.zip").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"not installed; `pip install 'rrl\[sb3\]'` installs it"):
        load_policies({"PPO": [str(tmp_path / "model.zip")]}, TASK)


def train(name, env):
    sb3, contrib = pytest.importorskip("stable_baselines3"), pytest.importorskip("sb3_contrib")
    module = contrib if name in {"TRPO", "TQC"} else sb3
    on_policy = {"n_steps": 64, "batch_size": 64} if name in {"PPO", "TRPO"} else {"learning_starts": 50}
    model = getattr(module, name)("MlpPolicy", env, seed=5, device="cpu", **on_policy)
    return model.learn(100)


@pytest.mark.mujoco
@pytest.mark.parametrize("name", ["PPO", "TRPO", "SAC", "TD3", "TQC"])
def test_a_policy_acts_as_in_its_own_package(name, tmp_path):
    model = train(name, TASK)
    model.save(tmp_path / "model.zip")
    (policy,) = load_policies({name: [str(tmp_path)]}, TASK)
    np.testing.assert_allclose(policy.act(OBSERVATIONS), model.predict(OBSERVATIONS, deterministic=True)[0], rtol=1e-5)
    assert policy.label.train_seed == 5
    assert policy.env_steps >= 100


@pytest.mark.mujoco
def test_statistics_beside_the_file_are_used(tmp_path):
    pytest.importorskip("stable_baselines3")
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    worlds = VecNormalize(DummyVecEnv([lambda: gymnasium.make(TASK)]))
    model = train("PPO", worlds)
    model.save(tmp_path / "model.zip")
    worlds.save(str(tmp_path / "model.pkl"))
    (policy,) = load_policies({"PPO": [str(tmp_path / "model.zip")]}, TASK)
    expected, _ = model.predict(worlds.normalize_obs(OBSERVATIONS), deterministic=True)
    np.testing.assert_allclose(policy.act(OBSERVATIONS), expected, rtol=1e-5)
    assert np.abs(expected - model.predict(OBSERVATIONS, deterministic=True)[0]).max() > 1e-3
    (tmp_path / "model.pkl").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"model\.pkl does not hold the statistics of a VecNormalize"):
        load_policies({"PPO": [str(tmp_path / "model.zip")]}, TASK)


def test_a_damaged_file_is_named(tmp_path):
    pytest.importorskip("sb3_contrib")
    (tmp_path / "model.zip").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"model\.zip is not a policy of Stable-Baselines3, or is damaged"):
        load_policies({"PPO": [str(tmp_path / "model.zip")]}, TASK)
