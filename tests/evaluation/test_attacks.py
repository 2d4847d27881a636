"""The attackers do what they are named for, and the protagonist's tests are told to the algorithm."""

import lightning
import numpy as np
import pytest

from rrl.algorithms import RARL, RCRARL
from rrl.data import RolloutDataModule
from rrl.evaluation import AttackEvaluation, run_episodes
from rrl.evaluation.attacks import FIXED_ATTACKERS, PUSH_STEPS, AttackedWorlds, StepAttack, attackers_of
from rrl.risk import AttackReturnLabels
from tests.algorithms.test_rarl import Metrics
from tests.games import SaddleGame, fit, game

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
    worlds = AttackedWorlds(SaddleGame(2), lambda observations, starts: np.full((2, 1), 0.5))
    np.testing.assert_allclose(run_episodes(worlds, Still(), 4).returns, -0.25 + 1.0)


@pytest.mark.mujoco
def test_own_and_fixed_attackers_are_run_and_logged():
    data = RolloutDataModule("rrl/InvertedPendulumAdv-v1", num_envs=4, num_steps=64, iterations_per_epoch=2)
    lightning.seed_everything(0, verbose=False)
    module = RCRARL(data.spaces, labels=AttackReturnLabels())
    metrics = Metrics()
    trainer = fit(module, data, callbacks=[AttackEvaluation(every_n_epochs=1, num_episodes=2), metrics])
    logged = {key for key in trainer.callback_metrics if key.startswith("attack/")}
    assert logged == {f"attack/{name}" for name in (*FIXED_ATTACKERS, "learned", "gated")}
    assert module.risk.labeller.recent[-1] == trainer.callback_metrics["attack/learned"]


@pytest.mark.mujoco
def test_a_random_opponent_has_no_learned_attacker():
    module = game(RARL, RolloutDataModule("rrl/HopperAdv-v1"), opponent="uniform")
    assert set(attackers_of(module)) == set(FIXED_ATTACKERS)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`attacks\.every_n_epochs` must be at least 0, got -1"):
        AttackEvaluation(every_n_epochs=-1)
