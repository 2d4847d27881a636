"""A fresh adversary hurts, leaves no trace, and is the same for the same seed."""

import numpy as np
import pytest
import torch

from rrl.evaluation.attacks.trained import battlefield, train_adversary
from rrl.evaluation.episodes import Trial
from tests.evaluation.controllers import TASK, balance


@pytest.mark.mujoco
def test_training_leaves_the_random_streams_and_the_folder_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    train_adversary(balance, Trial(TASK, 1, 1), force_limit=5.0, num_steps=1)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0.0, atol=0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.mujoco
def test_the_same_seed_gives_the_same_adversary():
    observations = np.random.default_rng(0).normal(size=(5, 4))
    starts = np.zeros(5, dtype=bool)
    actions = [
        train_adversary(balance, Trial(TASK, 1, seed), force_limit=5.0, num_steps=3000).attacker((5, 2), 0)(
            observations, starts
        )
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert np.abs(actions[0] - actions[2]).max() > 1e-3


@pytest.mark.mujoco
def test_an_adversary_can_begin_with_a_push():
    adversary = train_adversary(balance, Trial(TASK, 1, 1), force_limit=5.0, num_steps=1, start=(0.8, -0.8))
    actions = adversary.attacker((5, 2), 0)(np.random.default_rng(0).normal(size=(5, 4)), np.zeros(5, dtype=bool))
    # One update has moved it a little.
    np.testing.assert_allclose(actions, np.tile([0.8, -0.8], (5, 1)), atol=0.6)


@pytest.mark.mujoco
def test_steps_are_whole_rollouts():
    assert train_adversary(balance, Trial(TASK, 1, 0), force_limit=5.0, num_steps=2049).num_steps == 4096


def test_a_task_is_attacked_with_its_own_nominal_physics():
    assert battlefield(Trial("Hopper-v5", 1)).env_id == "rrl/HopperAdv-v1"
    assert battlefield(Trial("Walker2d-v5", 1)).env_id == "rrl/Walker2dAdv-v1"
    assert battlefield(Trial("rrl/HopperHeel6Adv-v1", 1)).env_id == "rrl/HopperHeel6Adv-v1"


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        ("Reacher-v5", {"force_limit": 1.0}, "`adversary` must name the bodies of Reacher-v5"),
        (TASK, {"force_limit": 0.0}, "`force_limit` must be positive, got 0.0."),
        (TASK, {"force_limit": 1.0, "num_steps": 0}, "`num_steps` must be at least 1, got 0."),
    ],
)
def test_bad_input_is_named(env_id, options, message):
    with pytest.raises(ValueError, match=message):
        train_adversary(balance, Trial(env_id, 1), **options)
