"""When the evaluation during training runs, and in which worlds."""

from __future__ import annotations

import json

import lightning
import pytest

import train
from rrl.algorithms import RCRARL, TRPO
from rrl.checkpoints import world_recipe
from rrl.data import RolloutDataModule
from rrl.envs import make_vec_env
from rrl.evaluation import AttackEvaluation
from rrl.evaluation.attacks.attackers import FIXED_ATTACKERS, HasOpponent
from rrl.evaluation.training.callbacks import nominal_worlds
from rrl.random_streams import Purpose
from rrl.risk import AttackReturnLabels
from tests.algorithms.test_rarl import Metrics
from tests.conftest import PROJECT
from tests.games import fit
from tests.toy_training import ToyData

TOY = ["--config", str(PROJECT / "tests" / "conf" / "toy.yaml")]


def test_every_nth_epoch_and_the_last_are_evaluated(workdir):
    assert train.main([*TOY, "--trainer.max_epochs", "5", "--evaluation.every_n_epochs", "2"]) == 0
    (file,) = workdir.glob("runs/*/metrics.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    evaluated = [record["step"] for record in records if "eval/return_mean" in record["metrics"]]
    assert evaluated == [64, 128, 160]


def test_evaluation_worlds_differ_from_training_and_repeat():
    recipe = world_recipe(ToyData(seed=3))
    training = make_vec_env(recipe["env_id"], 2, seed=3)
    starts = [training.reset()[0].tolist()]
    training.close()
    for purpose in (Purpose.NOMINAL_EVALUATION, Purpose.NOMINAL_EVALUATION, Purpose.CHECKPOINT_EVALUATION):
        envs = nominal_worlds(recipe, 2, purpose)
        starts.append(envs.reset()[0].tolist())
        envs.close()
    assert starts[1] == starts[2]
    first_observations = [world for worlds in (starts[0], starts[1], starts[3]) for world in worlds]
    assert len({tuple(observation) for observation in first_observations}) == 6


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
