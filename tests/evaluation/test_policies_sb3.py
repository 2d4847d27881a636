"""Policies of Stable-Baselines3 act as they do there, with their statistics; without the package a sentence helps."""

from __future__ import annotations

import base64
import json
import sys
import zipfile

import numpy as np
import pytest

from rrl.checkpoints import CheckpointError
from rrl.evaluation.cells.evaluate import evaluate_cells
from rrl.evaluation.cells.suites import load_suite
from rrl.evaluation.episodes import Trial
from rrl.evaluation.policies import PolicySource, find_policies, load_source, require_fit
from rrl.evaluation.policies_sb3 import find_statistics

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
    with pytest.raises(CheckpointError, match=r"not installed; `pip install sb3-contrib` installs it"):
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


def saved_with(tmp_path, zip_name, statistics_name):
    """A policy whose actions show whether its statistics were used."""
    pytest.importorskip("stable_baselines3")
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    worlds = VecNormalize(DummyVecEnv([lambda: gymnasium.make(TASK)]))
    model = train("PPO", worlds)
    for name in (zip_name, statistics_name):
        (tmp_path / name).parent.mkdir(exist_ok=True)
    model.save(tmp_path / zip_name)
    worlds.save(str(tmp_path / statistics_name))
    return model, worlds


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("zip_name", "statistics_name"),
    [
        ("model.zip", "model_vecnormalize.pkl"),
        ("ppo.zip", "vec_normalize.pkl"),
        ("model.zip", "vecnormalize.pkl"),
        ("InvertedPendulum-v5.zip", "InvertedPendulum-v5/vecnormalize.pkl"),
        ("best_model.zip", "InvertedPendulum-v5/vecnormalize.pkl"),
        ("rl_model_20000_steps.zip", "rl_model_vecnormalize_20000_steps.pkl"),
    ],
)
def test_statistics_are_found_under_the_names_that_others_give_them(tmp_path, zip_name, statistics_name):
    model, worlds = saved_with(tmp_path, zip_name, statistics_name)
    (policy,) = load_policies({"PPO": [str(tmp_path / zip_name)]}, TASK)
    expected, _ = model.predict(worlds.normalize_obs(OBSERVATIONS), deterministic=True)
    np.testing.assert_allclose(policy.act(OBSERVATIONS), expected, rtol=1e-5)
    assert policy.note.endswith(f"observations are normalised with {tmp_path / statistics_name}.")


@pytest.mark.mujoco
def test_statistics_can_be_named_and_refused_and_those_that_lie_about_are_said(tmp_path):
    model, worlds = saved_with(tmp_path, "model.zip", "other.pkl")
    entry = str(tmp_path / "model.zip")
    named = {"zip": entry, "normalization": str(tmp_path / "other.pkl")}
    plain, normalised = load_policies({"A": [entry], "B": [named]}, TASK)
    np.testing.assert_allclose(plain.act(OBSERVATIONS), model.predict(OBSERVATIONS, deterministic=True)[0], rtol=1e-5)
    expected, _ = model.predict(worlds.normalize_obs(OBSERVATIONS), deterministic=True)
    np.testing.assert_allclose(normalised.act(OBSERVATIONS), expected, rtol=1e-5)
    assert plain.note.endswith("no statistics of a VecNormalize are used; beside it, and not used: other.pkl.")
    (tmp_path / "vecnormalize.pkl").write_bytes(b"nothing")
    (unused,) = load_policies({"A": [{"zip": entry, "normalization": None}]}, TASK)
    np.testing.assert_array_equal(unused.act(OBSERVATIONS), plain.act(OBSERVATIONS))


def test_statistics_that_might_be_several_must_be_named(tmp_path):
    for folder in ("Hopper-v5", "Ant-v5"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vecnormalize.pkl").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"may have been trained with any of .*Ant-v5.*normalization: \.\.\."):
        find_statistics(tmp_path / "best_model.zip")


@pytest.mark.parametrize("entry", [{"zip": "model.zip"}, {"zip": "model.ckpt", "normalization": None}])
def test_an_entry_of_another_form_is_named(entry):
    with pytest.raises(CheckpointError, match=r"A policy is a name or \{zip: FILE\.zip, normalization: FILE\.pkl\}"):
        find_policies({"A": [entry]})


@pytest.mark.mujoco
def test_a_squashed_policy_with_state_dependent_exploration_acts_as_in_its_own_package(tmp_path):
    sb3 = pytest.importorskip("stable_baselines3")
    kwargs = {"squash_output": True, "log_std_init": -1.0}
    model = sb3.PPO("MlpPolicy", TASK, n_steps=64, batch_size=64, use_sde=True, policy_kwargs=kwargs, device="cpu")
    model.learn(100).save(tmp_path / "model.zip")
    (policy,) = load_policies({"PPO": [str(tmp_path)]}, TASK)
    np.testing.assert_allclose(policy.act(OBSERVATIONS), model.predict(OBSERVATIONS, deterministic=True)[0], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.mujoco
@pytest.mark.parametrize("name", ["TRPO", "PPO", "SAC", "SAC with gSDE"])
def test_a_policy_is_scored_as_in_its_own_package(name, tmp_path):
    sb3, contrib = pytest.importorskip("stable_baselines3"), pytest.importorskip("sb3_contrib")
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecNormalize

    still = {"reset_noise_scale": 0.0}  # one episode is as good as many
    envs = VecNormalize(make_vec_env("Hopper-v5", seed=0, env_kwargs=still))
    if name in {"TRPO", "PPO"}:
        model = (contrib.TRPO if name == "TRPO" else sb3.PPO)("MlpPolicy", envs, n_steps=512, seed=0, device="cpu")
    else:
        model = sb3.SAC("MlpPolicy", envs, use_sde="gSDE" in name, train_freq=4, seed=0, device="cpu")
    model.learn(1500).save(tmp_path / "model.zip")
    envs.save(str(tmp_path / "vec_normalize.pkl"))
    envs.training = envs.norm_reward = False
    expected, _ = evaluate_policy(model, envs, n_eval_episodes=1)

    trial = Trial("Hopper-v5", 3, env_kwargs=still)
    (policy,) = load_policies({name: [str(tmp_path)]}, "Hopper-v5")
    (row,) = evaluate_cells(policy.act, trial, load_suite("nominal", trial).cells)
    assert row.return_mean == pytest.approx(expected, rel=1e-4)
    assert row.return_std == pytest.approx(0.0, abs=1e-3)
    # Without its statistics it is another policy.
    bare = load_source(PolicySource(name, str(tmp_path / "model.zip"), 0, None))
    (other,) = evaluate_cells(bare.act, trial, load_suite("nominal", trial).cells)
    assert other.return_mean != pytest.approx(expected, rel=1e-2)


@pytest.mark.mujoco
def test_a_module_that_a_file_of_another_time_needs_is_named(tmp_path):
    train("PPO", TASK).save(tmp_path / "new.zip")
    of_gym = base64.b64encode(b"cgym.spaces.box\nBox\n.").decode()  # a pickle of that name
    with zipfile.ZipFile(tmp_path / "new.zip") as new, zipfile.ZipFile(tmp_path / "model.zip", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "data":
                data = json.loads(content)
                data["observation_space"][":serialized:"] = of_gym
                content = json.dumps(data).encode()
            old.writestr(name, content)
    with pytest.raises(CheckpointError, match=r"model\.zip needs the module gym, which is not installed here"):
        load_policies({"PPO": [str(tmp_path / "model.zip")]}, TASK)


def test_a_damaged_file_is_named(tmp_path):
    pytest.importorskip("sb3_contrib")
    (tmp_path / "model.zip").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"model\.zip is not a policy of Stable-Baselines3, or is damaged"):
        load_policies({"PPO": [str(tmp_path / "model.zip")]}, TASK)
