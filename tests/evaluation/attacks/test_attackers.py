"""The attackers do what they are named for."""

import numpy as np
import pytest

from rrl.algorithms import RARL
from rrl.data import RolloutDataModule
from rrl.evaluation import run_episodes
from rrl.evaluation.attacks.attackers import FIXED_ATTACKERS, PUSH_STEPS, AttackedWorlds, StepAttack, attackers_of
from tests.games import SaddleGame, game

NOWHERE = np.zeros((400, 1))
NO_START = np.zeros(400, dtype=bool)


def pushes(random_magnitude: bool) -> np.ndarray:
    attacker = StepAttack((400, 2), seed=0, random_magnitude=random_magnitude)
    return np.stack([attacker(NOWHERE, NO_START).copy() for _ in range(250)])


def test_a_step_attack_holds_the_limit_for_its_time():
    forces = pushes(random_magnitude=False)
    assert set(np.unique(forces)) == {0.0, 1.0}
    begins = (forces[:120, :, 0] > 0) & (np.concatenate([np.zeros((1, 400)), forces[:119, :, 0]]) == 0)
    assert begins[0].mean() == pytest.approx(0.005, abs=0.01)
    for step, world in np.argwhere(begins):
        assert (forces[step : step + PUSH_STEPS, world] == 1.0).all()


def test_a_random_step_attack_draws_each_push_once():
    forces = pushes(random_magnitude=True)
    assert np.abs(forces).max() <= 1.0
    assert 100 < len(np.unique(forces)) < 4000


def test_a_push_ends_with_its_episode():
    attacker = StepAttack((1, 1), seed=3, random_magnitude=False)
    step = 0
    while not attacker(np.zeros((1, 1)), np.array([False])).any():
        step += 1
    assert not attacker(np.zeros((1, 1)), np.array([True])).any()


class Still:
    def act(self, observations, noise):
        return noise


def test_the_attack_reaches_the_worlds():
    worlds = AttackedWorlds(SaddleGame(2), lambda shape, seed: lambda observations, starts: np.full(shape, 0.5), 0)
    np.testing.assert_allclose(run_episodes(worlds, Still(), 4).returns, -0.25 + 1.0)
    assert worlds.rms == 0.5


@pytest.mark.mujoco
def test_a_random_opponent_has_no_learned_attacker():
    module = game(RARL, RolloutDataModule("rrl/HopperAdv-v1"), opponent="uniform")
    assert set(attackers_of(module)) == set(FIXED_ATTACKERS)
