"""The protagonist's tests while a game is trained, and the algorithm that is told about them."""

import lightning
import pytest

from rrl.algorithms import RCRARL, TRPO
from rrl.data import RolloutDataModule
from rrl.evaluation import AttackEvaluation
from rrl.evaluation.attacks.attackers import FIXED_ATTACKERS, HasOpponent
from rrl.risk import AttackReturnLabels
from tests.algorithms.test_rarl import Metrics
from tests.games import fit


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
def test_an_algorithm_without_an_adversary_is_left_alone():
    data = RolloutDataModule("InvertedPendulum-v5", num_envs=2, num_steps=8, iterations_per_epoch=1)
    module = TRPO(data.spaces)
    assert not isinstance(module, HasOpponent)
    trainer = fit(module, data, callbacks=[AttackEvaluation(every_n_epochs=1), Metrics()])
    assert not [key for key in trainer.callback_metrics if key.startswith("attack/")]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`attacks\.every_n_epochs` must be at least 0, got -1"):
        AttackEvaluation(every_n_epochs=-1)
